//! A picture in small, as JPEG, for people to look at.

use jpeg_encoder::{ColorType, Encoder};

use super::{Crop, Picture, resize};

/// The longest side of a thumbnail.
pub const THUMBNAIL_SIDE: usize = 192;
const QUALITY: u8 = 70;

/// `picture` in the same shape with no side longer than `most`; as it is where it is small enough.
#[must_use]
pub fn fit(picture: Picture, most: usize) -> Picture {
    let longest = picture.width.max(picture.height);
    if longest <= most {
        return picture;
    }
    // Rounded, and a thread of a picture is still one pixel wide.
    let side = |old: usize| ((old * most + longest / 2) / longest).max(1);
    let (width, height) = (side(picture.width), side(picture.height));
    let pixels = resize(&picture, Crop::whole(&picture), (width, height), |p| p.map(f64::from));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "means of bytes")]
    let rgb = pixels.into_iter().map(|value| value.round().clamp(0.0, 255.0) as u8).collect();
    Picture { width, height, rgb }
}

/// Nothing for a picture that no JPEG can hold.
pub fn encode(picture: &Picture) -> Option<Vec<u8>> {
    let (width, height) = (u16::try_from(picture.width).ok()?, u16::try_from(picture.height).ok()?);
    let mut out = Vec::new();
    Encoder::new(&mut out, QUALITY).encode(&picture.rgb, width, height, ColorType::Rgb).ok()?;
    Some(out)
}
