//! Pictures from bytes: JPEG and PNG, eight bits a channel, red, green and blue; and back, in small.
//!
//! The header is read first; what is larger than [`Limits`] allows is refused before a pixel is decoded
//! or a buffer is taken. Decoding costs milliseconds: never call it where sources are read.

mod area;
mod thumbnail;

use std::io::Cursor;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

pub use self::area::{Crop, resize};
pub use self::thumbnail::{THUMBNAIL_SIDE, encode, fit};

/// What a picture may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of the encoded file.
    pub bytes: usize,
    pub pixels: usize,
    /// Of its width and of its height.
    pub side: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 32 << 20, pixels: 32_000_000, side: 16_384 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Jpeg,
    Png,
}

/// A decoded picture: rows from the top, pixels from the left, red, green, blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<u8>,
}

/// Why bytes give no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    #[error("expected a JPEG or PNG picture, got {length} bytes that begin with {begin}")]
    Unknown { length: usize, begin: String },
    #[error("{length} bytes; the most is {most}")]
    TooManyBytes { length: usize, most: usize },
    #[error(
        "{width} x {height} pixels; the most is {} in all and {} a side: send a smaller picture",
        limits.pixels, limits.side
    )]
    TooLarge { width: usize, height: usize, limits: Limits },
    #[error("the {format:?} is broken or cut off: {message}")]
    Broken { format: Format, message: String },
}

impl Format {
    /// By the first bytes.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            _ => None,
        }
    }
}

/// Decodes what is within `limits`.
pub fn decode(bytes: &[u8], limits: Limits) -> Result<Picture, PictureError> {
    let length = bytes.len();
    if length > limits.bytes {
        return Err(PictureError::TooManyBytes { length, most: limits.bytes });
    }
    match Format::of(bytes) {
        Some(Format::Jpeg) => jpeg(bytes, limits),
        Some(Format::Png) => png(bytes, limits),
        None => {
            let begin: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
            Err(PictureError::Unknown { length, begin: begin.join(" ") })
        }
    }
}

fn fits(width: usize, height: usize, limits: Limits) -> Result<(), PictureError> {
    let fits = (1..=limits.side).contains(&width)
        && (1..=limits.side).contains(&height)
        && width.checked_mul(height).is_some_and(|pixels| pixels <= limits.pixels);
    if fits { Ok(()) } else { Err(PictureError::TooLarge { width, height, limits }) }
}

fn jpeg(bytes: &[u8], limits: Limits) -> Result<Picture, PictureError> {
    let broken = |message: String| PictureError::Broken { format: Format::Jpeg, message };
    // The decoder fills what is cut off with grey; strict, it says so. Its own bounds are ours.
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| broken(error.to_string()))?;
    let (width, height) = decoder.dimensions().ok_or_else(|| broken("no dimensions".into()))?;
    fits(width, height, limits)?;
    let rgb = decoder.decode().map_err(|error| broken(error.to_string()))?;
    whole(Picture { width, height, rgb }, Format::Jpeg)
}

fn png(bytes: &[u8], limits: Limits) -> Result<Picture, PictureError> {
    let broken = |message: String| PictureError::Broken { format: Format::Png, message };
    // Eight bytes a pixel at most, and the decoder's own rows.
    let memory = png::Limits { bytes: limits.pixels.saturating_mul(9) };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), memory);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let header = decoder.read_header_info().map_err(|error| broken(error.to_string()))?;
    let (width, height) = (header.width as usize, header.height as usize);
    fits(width, height, limits)?;
    let mut reader = decoder.read_info().map_err(|error| broken(error.to_string()))?;
    let size = reader.output_buffer_size().ok_or_else(|| broken("no size".into()))?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(|error| broken(error.to_string()))?;
    pixels.truncate(frame.buffer_size());
    let rgb = match frame.color_type {
        png::ColorType::Rgb => pixels,
        png::ColorType::Rgba => pixels.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        png::ColorType::Grayscale => pixels.into_iter().flat_map(|grey| [grey; 3]).collect(),
        png::ColorType::GrayscaleAlpha => pixels.chunks_exact(2).flat_map(|p| [p[0]; 3]).collect(),
        png::ColorType::Indexed => return Err(broken("a palette that was not expanded".into())),
    };
    whole(Picture { width, height, rgb }, Format::Png)
}

/// The decoders' promise, held.
fn whole(picture: Picture, format: Format) -> Result<Picture, PictureError> {
    let (got, expected) = (picture.rgb.len(), picture.width * picture.height * 3);
    if got == expected {
        return Ok(picture);
    }
    Err(PictureError::Broken { format, message: format!("{got} bytes of {expected} came out") })
}

#[cfg(test)]
mod tests;
