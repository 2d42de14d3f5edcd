//! Layout `image`: a picture to a tensor, as the card says.

use serde::Deserialize;

use crate::picture::{Crop, Picture, resize};
use crate::verdict::Region;

/// `[input.image]` of a model card.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageInput {
    #[serde(default)]
    pub order: ImageOrder,
    #[serde(default)]
    pub colour: Colour,
    pub width: usize,
    pub height: usize,
    #[serde(default)]
    pub resize: Resize,
    /// `(x / 255 - mean) / std`, one of each a channel or one for all. Default: 0 and 1.
    #[serde(default)]
    pub mean: Vec<f64>,
    #[serde(default)]
    pub std: Vec<f64>,
}

/// Order of the dimensions after the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageOrder {
    #[default]
    Nchw,
    Nhwc,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    #[default]
    Rgb,
    Bgr,
    /// `0.299 r + 0.587 g + 0.114 b`
    Grey,
}

/// How a picture gets the model's size; always by area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// All of it, whatever its shape.
    #[default]
    Stretch,
    /// The largest part in the middle that has the model's shape.
    Crop,
}

const MOST_SIDE: usize = 4096;

impl ImageInput {
    pub(super) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for (key, side) in [("width", self.width), ("height", self.height)] {
            if !(1..=MOST_SIDE).contains(&side) {
                found.push((key, format!("{side} is not between 1 and {MOST_SIDE}")));
            }
        }
        let channels = self.channels();
        for (key, figures) in [("mean", &self.mean), ("std", &self.std)] {
            if ![0, 1, channels].contains(&figures.len()) {
                let got = figures.len();
                found.push((key, format!("expected 1 or {channels} numbers, got {got}")));
            } else if figures.iter().any(|figure| !figure.is_finite()) {
                found.push((key, "expected finite numbers".into()));
            }
        }
        if self.std.iter().any(|std| *std <= 0.0) {
            found.push(("std", "must be above 0".into()));
        }
        found
    }

    const fn channels(&self) -> usize {
        match self.colour {
            Colour::Grey => 1,
            Colour::Rgb | Colour::Bgr => 3,
        }
    }

    pub(super) fn shape(&self) -> Vec<usize> {
        match self.order {
            ImageOrder::Nchw => vec![self.channels(), self.height, self.width],
            ImageOrder::Nhwc => vec![self.height, self.width, self.channels()],
        }
    }

    fn crop(&self, picture: &Picture) -> Crop {
        match self.resize {
            Resize::Stretch => Crop::whole(picture),
            Resize::Crop => Crop::middle(picture, self.width, self.height),
        }
    }

    /// The part of `picture` that the model sees.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "shares")]
    pub fn shown(&self, picture: &Picture) -> Region {
        let Crop { left, top, width, height } = self.crop(picture);
        let share = |length: f64, side: usize| (length / side as f64) as f32;
        Region {
            left: share(left, picture.width),
            top: share(top, picture.height),
            width: share(width, picture.width),
            height: share(height, picture.height),
        }
    }

    /// What the model takes.
    pub fn tensor(&self, picture: &Picture) -> Vec<f32> {
        let crop = self.crop(picture);
        let size = (self.width, self.height);
        let pixels = match self.colour {
            Colour::Grey => resize(picture, crop, size, |[r, g, b]| {
                [0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)]
            }),
            Colour::Rgb => resize(picture, crop, size, |pixel| pixel.map(f64::from)),
            Colour::Bgr => resize(picture, crop, size, |[r, g, b]| [b, g, r].map(f64::from)),
        };
        let channels = self.channels();
        let of = |figures: &[f64], channel: usize, none: f64| {
            figures.get(channel).or(figures.first()).copied().unwrap_or(none)
        };
        #[expect(clippy::cast_possible_truncation, reason = "models take f32")]
        let number = |at: usize| {
            let channel = at % channels;
            let (mean, std) = (of(&self.mean, channel, 0.0), of(&self.std, channel, 1.0));
            ((pixels[at] / 255.0 - mean) / std) as f32
        };
        match self.order {
            ImageOrder::Nhwc => (0..pixels.len()).map(number).collect(),
            ImageOrder::Nchw => (0..channels)
                .flat_map(|channel| (channel..pixels.len()).step_by(channels))
                .map(number)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pixels: one red, one blue.
    fn picture() -> Picture {
        Picture { width: 2, height: 1, rgb: vec![255, 0, 0, 0, 0, 255] }
    }

    fn input(order: ImageOrder, colour: Colour) -> ImageInput {
        let (mean, std, resize) = (Vec::new(), Vec::new(), Resize::Stretch);
        ImageInput { order, colour, width: 2, height: 1, resize, mean, std }
    }

    #[test]
    fn the_order_of_dimensions_and_colours_is_the_card_s() {
        let tensor = |order, colour| input(order, colour).tensor(&picture());
        let (nchw, nhwc) = (ImageOrder::Nchw, ImageOrder::Nhwc);
        assert_eq!(tensor(nchw, Colour::Rgb), [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(tensor(nchw, Colour::Bgr), [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(tensor(nhwc, Colour::Rgb), [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(tensor(nhwc, Colour::Bgr), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(tensor(nchw, Colour::Grey), [0.299, 0.114]);
    }

    #[test]
    fn each_channel_has_its_figures_or_all_have_one() {
        let mut input = input(ImageOrder::Nchw, Colour::Rgb);
        (input.mean, input.std) = (vec![0.5, 0.0, 1.0], vec![0.25]);
        assert_eq!(input.tensor(&picture()), [2.0, -2.0, 0.0, 0.0, -4.0, 0.0]);
        input.std = vec![0.0, 1.0];
        let keys: Vec<_> = input.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["std", "std"]);
    }
}
