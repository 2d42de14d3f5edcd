//! Resizing by area: a new pixel is the mean of the old ones under it, each by the share that it covers.

use super::Picture;

/// The part of a picture that is looked at, in its pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crop {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

impl Crop {
    #[expect(clippy::cast_precision_loss, reason = "sides are small")]
    pub fn whole(picture: &Picture) -> Self {
        Self { left: 0.0, top: 0.0, width: picture.width as f64, height: picture.height as f64 }
    }

    /// The largest part in the middle that has the shape of `width` x `height`.
    #[expect(clippy::cast_precision_loss, reason = "sides are small")]
    pub fn middle(picture: &Picture, width: usize, height: usize) -> Self {
        let whole = Self::whole(picture);
        let scale = (whole.width / width as f64).min(whole.height / height as f64);
        let (wide, high) = (width as f64 * scale, height as f64 * scale);
        Self {
            left: (whole.width - wide) / 2.0,
            top: (whole.height - high) / 2.0,
            width: wide,
            height: high,
        }
    }
}

/// `channels` numbers a pixel of the new picture, which `of` makes of an old pixel; rows from the top.
pub fn resize<const CHANNELS: usize>(
    picture: &Picture,
    crop: Crop,
    (width, height): (usize, usize),
    of: impl Fn([u8; 3]) -> [f64; CHANNELS],
) -> Vec<f64> {
    let across = shares(crop.left, crop.width, width, picture.width);
    let down = shares(crop.top, crop.height, height, picture.height);
    let mut out = vec![0.0; width * height * CHANNELS];
    let mut line = vec![0.0; width * CHANNELS];
    let mut at = usize::MAX;
    for (share, row) in down.iter().zip(out.chunks_exact_mut(width * CHANNELS)) {
        for (old, weight) in (share.from..).zip(&share.weights) {
            // Two new rows may meet in one old row.
            if at != old {
                at = old;
                squeeze(picture, old, &across, &of, &mut line);
            }
            row.iter_mut().zip(&line).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    out
}

/// One old row at the new width.
fn squeeze<const CHANNELS: usize>(
    picture: &Picture,
    row: usize,
    across: &[Share],
    of: &impl Fn([u8; 3]) -> [f64; CHANNELS],
    line: &mut [f64],
) {
    let pixels = &picture.rgb[row * picture.width * 3..(row + 1) * picture.width * 3];
    for (share, place) in across.iter().zip(line.chunks_exact_mut(CHANNELS)) {
        place.fill(0.0);
        let under = pixels[share.from * 3..].chunks_exact(3);
        for (pixel, weight) in under.zip(&share.weights) {
            let values = of([pixel[0], pixel[1], pixel[2]]);
            place.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
        }
    }
}

/// The old pixels under a new one; their weights add up to 1.
struct Share {
    from: usize,
    weights: Vec<f64>,
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places within a picture's side"
)]
fn shares(first: f64, length: f64, new: usize, old: usize) -> Vec<Share> {
    let share = |place: usize| {
        let low = first + length * place as f64 / new as f64;
        let high = first + length * (place + 1) as f64 / new as f64;
        let from = (low.max(0.0).floor() as usize).min(old - 1);
        let until = (high.ceil() as usize).clamp(from + 1, old);
        let covers = |at: usize| (high.min((at + 1) as f64) - low.max(at as f64)).max(0.0);
        let mut weights: Vec<f64> = (from..until).map(covers).collect();
        let sum: f64 = weights.iter().sum();
        if sum > 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= sum);
        } else {
            weights.fill(1.0 / (until - from) as f64);
        }
        Share { from, weights }
    };
    (0..new).map(share).collect()
}
