//! The text of `<auth/>`, `<challenge/>`, `<response/>` and `<success/>` (RFC 6120 §6.4).

use super::SaslFailure;
use crate::base::hash::{base64, unbase64};
use crate::base::limits::SASL_BYTES_MAX;

/// Decodes a client's payload. No text is no payload, which means "no initial response" in `<auth/>` and an
/// empty one in `<response/>`; `=` is a payload of no bytes (RFC 6120 §6.4.2).
pub fn decode_payload(text: &str) -> Result<Option<Vec<u8>>, SaslFailure> {
    if text.len() > SASL_BYTES_MAX.div_ceil(3) * 4 {
        return Err(SaslFailure::MalformedRequest);
    }
    match text {
        "" => Ok(None),
        "=" => Ok(Some(Vec::new())),
        _ => unbase64(text).map(Some).ok_or(SaslFailure::IncorrectEncoding),
    }
}

/// The text of a `<challenge/>`. An empty challenge has no text.
pub fn encode_challenge(data: &[u8]) -> String {
    base64(data)
}

/// The text of a `<success/>`: `=` for empty data (RFC 6120 §6.4.6), no text for no data.
pub fn encode_success(data: Option<&[u8]>) -> String {
    match data {
        None => String::new(),
        Some([]) => "=".to_owned(),
        Some(data) => base64(data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads() {
        use SaslFailure::{IncorrectEncoding, MalformedRequest};
        let longest = base64(&[0; SASL_BYTES_MAX]);
        for (text, want) in [
            ("", Ok(None)),
            ("=", Ok(Some(&[][..]))),
            ("YQ==", Ok(Some(b"a"))),
            (&longest, Ok(Some(&[0; SASL_BYTES_MAX]))),
            ("==", Err(IncorrectEncoding)),
            ("YQ", Err(IncorrectEncoding)),
            (" YQ==", Err(IncorrectEncoding)),
            ("YQ==\n", Err(IncorrectEncoding)),
            ("\u{e9}", Err(IncorrectEncoding)),
            (&(longest.clone() + "YQ=="), Err(MalformedRequest)),
        ] {
            let got = decode_payload(text);
            assert_eq!(got.as_ref().map(Option::as_deref), want.as_ref().map(|w| *w), "{text}");
        }
        assert_eq!(encode_challenge(b""), "");
        assert_eq!(encode_challenge(b"a"), "YQ==");
        assert_eq!(encode_success(None), "");
        assert_eq!(encode_success(Some(b"")), "=");
        assert_eq!(encode_success(Some(b"a")), "YQ==");
    }
}
