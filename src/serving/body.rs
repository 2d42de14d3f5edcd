//! Bodies as they travel: gzip and deflate, in and out, within the limit both ways.

use std::io::{Read, Write};

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use flate2::Compression;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use super::refusal::Refusal;

pub(super) const HEADER_LENGTH: HeaderName =
    HeaderName::from_static("inference-header-content-length");

/// HTTP calls the zlib format `deflate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Deflate,
}

impl Coding {
    pub(super) fn of_request(headers: &HeaderMap) -> Result<Self, Refusal> {
        match text(headers, &header::CONTENT_ENCODING)? {
            None | Some("" | "identity") => Ok(Self::Identity),
            Some("gzip") => Ok(Self::Gzip),
            Some("deflate") => Ok(Self::Deflate),
            Some(other) => Err(Refusal::invalid(format!(
                "Content-Encoding `{other}` is not served; send gzip, deflate or none"
            ))),
        }
    }

    /// The first one accepted that is known here.
    pub(super) fn of_response(headers: &HeaderMap) -> Self {
        let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        let known = |part: &str| {
            let mut words = part.split(';').map(str::trim);
            let coding = match words.next() {
                Some("gzip") => Self::Gzip,
                Some("deflate") => Self::Deflate,
                _ => return None,
            };
            let refused = words
                .filter_map(|word| word.strip_prefix("q="))
                .any(|weight| weight.parse() == Ok(0.0));
            (!refused).then_some(coding)
        };
        accepted.unwrap_or_default().split(',').find_map(known).unwrap_or(Self::Identity)
    }

    pub(super) fn word(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Deflate => Some("deflate"),
        }
    }

    /// At most `limit` bytes: a small body can stand for a huge one.
    pub(super) fn unpack(self, body: &[u8], limit: usize) -> Result<Vec<u8>, Refusal> {
        let most = (limit as u64).saturating_add(1);
        let mut whole = Vec::new();
        let read = match self {
            Self::Identity => {
                whole.extend_from_slice(body);
                Ok(whole.len())
            }
            Self::Gzip => MultiGzDecoder::new(body).take(most).read_to_end(&mut whole),
            Self::Deflate => ZlibDecoder::new(body).take(most).read_to_end(&mut whole),
        };
        read.map_err(|error| Refusal::invalid(format!("the body cannot be unpacked: {error}")))?;
        if whole.len() > limit {
            return Err(too_large(limit));
        }
        Ok(whole)
    }

    pub(super) fn pack(self, body: Vec<u8>) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => {
                let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
                packed.write_all(&body)?;
                packed.finish()
            }
            Self::Deflate => {
                let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
                packed.write_all(&body)?;
                packed.finish()
            }
        }
    }
}

pub(super) fn too_large(limit: usize) -> Refusal {
    let message = format!("the body has more than {limit} bytes (`service.body`)");
    Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, message }
}

pub(super) fn header_length(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let Some(text) = text(headers, &HEADER_LENGTH)? else { return Ok(None) };
    text.trim().parse().map(Some).map_err(|_| {
        Refusal::invalid(format!("Inference-Header-Content-Length is `{text}`; write a length"))
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let unreadable = |_| Refusal::invalid(format!("the header `{name}` cannot be read"));
    headers.get(name).map(|value| value.to_str().map_err(unreadable)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_out_as_it_went_in() {
        for coding in [Coding::Identity, Coding::Gzip, Coding::Deflate] {
            let packed = coding.pack(b"abc".repeat(100)).unwrap();
            assert_eq!(coding.unpack(&packed, 300).unwrap(), b"abc".repeat(100));
        }
    }

    #[test]
    fn a_small_body_that_stands_for_a_huge_one_is_refused() {
        for coding in [Coding::Gzip, Coding::Deflate] {
            let packed = coding.pack(vec![0; 1_000_000]).unwrap();
            assert!(packed.len() < 10_000);
            assert_eq!(coding.unpack(&packed, 99_999).unwrap_err(), too_large(99_999));
            let error = coding.unpack(&packed[..packed.len() / 2], 2_000_000).unwrap_err();
            assert!(error.message.starts_with("the body cannot be unpacked"), "{error:?}");
        }
    }

    #[test]
    fn the_first_accepted_coding_that_is_known_is_taken() {
        for (accepted, expected) in [
            ("gzip", Coding::Gzip),
            ("br, deflate;q=0.5, gzip", Coding::Deflate),
            ("gzip;q=0, deflate", Coding::Deflate),
            ("br", Coding::Identity),
        ] {
            let headers = HeaderMap::from_iter([(
                header::ACCEPT_ENCODING,
                axum::http::HeaderValue::from_static(accepted),
            )]);
            assert_eq!(Coding::of_response(&headers), expected, "{accepted}");
        }
    }
}
