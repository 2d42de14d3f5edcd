use super::*;

fn png_of(width: u32, height: u32, colour: png::ColorType, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(data).unwrap();
    writer.finish().unwrap();
    out
}

fn jpeg_of(width: u16, height: u16, rgb: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut out, 95);
    encoder.encode(rgb, width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    out
}

/// A PNG whose header claims more than its data holds.
fn claiming(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png_of(1, 1, png::ColorType::Grayscale, &[7]);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc32fast::hash(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn png_of_every_colour_becomes_red_green_blue() {
    let decode = |colour, data: &[u8]| decode(&png_of(2, 1, colour, data), Limits::default());
    let rgb = |rgb: &[u8]| Ok(Picture { width: 2, height: 1, rgb: rgb.into() });
    assert_eq!(decode(png::ColorType::Rgb, &[1, 2, 3, 4, 5, 6]), rgb(&[1, 2, 3, 4, 5, 6]));
    assert_eq!(decode(png::ColorType::Grayscale, &[9, 8]), rgb(&[9, 9, 9, 8, 8, 8]));
    let rgba = [1, 2, 3, 0, 4, 5, 6, 255];
    assert_eq!(decode(png::ColorType::Rgba, &rgba), rgb(&[1, 2, 3, 4, 5, 6]));
}

#[test]
fn a_jpeg_comes_back_but_for_its_losses() {
    let rgb: Vec<u8> = [200, 100, 50].repeat(32 * 16);
    let picture = decode(&jpeg_of(32, 16, &rgb), Limits::default()).unwrap();
    assert_eq!((picture.width, picture.height), (32, 16));
    let worst = picture.rgb.iter().zip(&rgb).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(worst <= Some(3), "{worst:?}");
}

#[test]
fn a_hundred_megapixels_are_refused_by_their_header() {
    let error = decode(&claiming(10_000, 10_000), Limits::default()).unwrap_err();
    assert!(error.to_string().starts_with("10000 x 10000 pixels; the most is 32000000"), "{error}");
    let mut jpeg = jpeg_of(16, 16, &[0; 768]);
    let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x27, 0x10, 0x27, 0x10]);
    let error = decode(&jpeg, Limits::default()).unwrap_err();
    assert!(matches!(error, PictureError::TooLarge { width: 10_000, .. }), "{error}");
}

#[test]
fn a_side_or_a_file_beyond_the_limits_is_refused() {
    let narrow = decode(&claiming(1, 20_000), Limits::default());
    assert!(matches!(narrow, Err(PictureError::TooLarge { .. })), "{narrow:?}");
    let limits = Limits { bytes: 10, ..Limits::default() };
    let long = decode(&png_of(1, 1, png::ColorType::Grayscale, &[0]), limits);
    assert!(matches!(long, Err(PictureError::TooManyBytes { most: 10, .. })), "{long:?}");
}

#[test]
fn broken_pictures_say_what_they_are() {
    let noise: Vec<u8> =
        (0..64 * 64 * 3).map(|n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let whole = [jpeg_of(64, 64, &noise), png_of(64, 64, png::ColorType::Rgb, &noise)];
    for bytes in &whole {
        for keep in [12, bytes.len() / 4, bytes.len() / 2] {
            let error = decode(&bytes[..keep], Limits::default()).unwrap_err();
            assert!(matches!(error, PictureError::Broken { .. }), "{keep}: {error}");
        }
    }
    for bytes in [&b""[..], b"hello", &[0xff, 0xd8]] {
        let error = decode(bytes, Limits::default()).unwrap_err();
        assert!(matches!(error, PictureError::Unknown { .. }), "{error}");
    }
}

#[test]
fn a_new_pixel_is_the_mean_of_what_it_covers() {
    let rgb = (0..6).flat_map(|grey| [grey * 10; 3]).collect();
    let picture = Picture { width: 3, height: 2, rgb };
    let grey = |pixel: [u8; 3]| [f64::from(pixel[0])];
    let one = resize(&picture, Crop::whole(&picture), (1, 1), grey);
    assert!((one[0] - 25.0).abs() < 1e-12, "{one:?}");
    let two = resize(&picture, Crop::whole(&picture), (2, 1), grey);
    // 1.5 columns each: (0 + 10/2) / 1.5 and (10/2 + 20) / 1.5, and 15 more on average.
    assert!((two[0] - (5.0 / 1.5 + 15.0)).abs() < 1e-12, "{two:?}");
    assert!((two[1] - (25.0 / 1.5 + 15.0)).abs() < 1e-12, "{two:?}");
    let larger = resize(&picture, Crop::whole(&picture), (6, 4), grey);
    assert_eq!(larger[..6], [0.0, 0.0, 10.0, 10.0, 20.0, 20.0]);
}

#[test]
fn the_middle_has_the_shape_that_is_asked_for() {
    let picture = Picture { width: 400, height: 100, rgb: vec![0; 120_000] };
    let middle = Crop { left: 150.0, top: 0.0, width: 100.0, height: 100.0 };
    assert_eq!(Crop::middle(&picture, 20, 20), middle);
}

#[test]
fn a_thumbnail_keeps_the_shape_and_what_is_in_it() {
    let left_red = |width: usize, height: usize| {
        let row = |x: usize| if x < width / 2 { [220, 20, 20] } else { [20, 20, 220] };
        let rgb = (0..width * height).flat_map(|at| row(at % width)).collect();
        Picture { width, height, rgb }
    };
    for ((width, height), small) in [
        ((1200, 800), (192, 128)),
        ((800, 1200), (128, 192)),
        ((4000, 3), (192, 1)),
        ((64, 48), (64, 48)),
    ] {
        let fitted = fit(left_red(width, height), THUMBNAIL_SIDE);
        assert_eq!((fitted.width, fitted.height), small, "{width} x {height}");
        let again = decode(&encode(&fitted).unwrap(), Limits::default()).unwrap();
        assert_eq!((again.width, again.height), small);
        let pixel = |x: usize| &again.rgb[x * 3..x * 3 + 3];
        let near =
            |got: &[u8], want: [u8; 3]| got.iter().zip(want).all(|(a, b)| a.abs_diff(b) < 40);
        assert!(near(pixel(2), [220, 20, 20]), "{:?}", pixel(2));
        assert!(near(pixel(small.0 - 3), [20, 20, 220]), "{:?}", pixel(small.0 - 3));
    }
}

#[test]
fn no_jpeg_holds_a_side_of_65536() {
    let rgb = vec![0; 65_536 * 3];
    assert_eq!(encode(&Picture { width: 65_536, height: 1, rgb }), None);
}
