//! Images as peers send them. Only what their first bytes show is believed, and nothing is decoded.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::nodes::{DATA, METADATA};
use crate::stanza::StanzaError;
use crate::xml::writer::Xml;

/// An image whose kind is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    bytes: Vec<u8>,
    ty: &'static str,
}

/// Why something is no image to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoImage {
    /// There are no bytes.
    Empty,
    /// It is not Base64.
    NotBase64,
    /// It is larger than the bound.
    TooLarge,
    /// It is of no kind that clients show.
    Unknown,
}

impl From<NoImage> for StanzaError {
    fn from(why: NoImage) -> Self {
        match why {
            NoImage::Empty => Self::bad_request().text("the image is empty"),
            NoImage::NotBase64 => Self::bad_request().text("the image is not Base64"),
            NoImage::TooLarge => Self::policy_violation().text("the image is too large"),
            NoImage::Unknown => {
                Self::not_acceptable().text("the image is not of type PNG, JPEG, GIF or WebP")
            }
        }
    }
}

impl Image {
    /// Reads Base64 with any white space (XEP-0084 §4.1: line feeds MUST be accepted) of an image of at most
    /// `bytes_max`.
    pub fn read(base64: &str, bytes_max: usize) -> Result<Self, NoImage> {
        let packed: String = base64.split_ascii_whitespace().collect();
        if packed.is_empty() {
            return Err(NoImage::Empty);
        }
        if packed.len() / 4 > bytes_max.div_ceil(3) {
            return Err(NoImage::TooLarge);
        }
        let bytes = STANDARD.decode(packed).map_err(|_| NoImage::NotBase64)?;
        if bytes.len() > bytes_max {
            return Err(NoImage::TooLarge);
        }
        let ty = kind(&bytes).ok_or(NoImage::Unknown)?;
        Ok(Self { bytes, ty })
    }

    /// Its SHA-1 in hexadecimal, by which it is known (XEP-0084 §3.1, XEP-0153 §3.1: in lower case).
    pub fn id(&self) -> String {
        Sha1::digest(&self.bytes).iter().fold(String::with_capacity(40), |mut id, byte| {
            let _ = write!(id, "{byte:02x}");
            id
        })
    }

    /// Its media type.
    pub fn ty(&self) -> &'static str {
        self.ty
    }

    /// Its bytes in Base64.
    pub fn base64(&self) -> String {
        STANDARD.encode(&self.bytes)
    }

    /// The payload of the data node (XEP-0084 §4.1).
    pub fn data(&self) -> Vec<u8> {
        let mut xml = Xml::new();
        xml.element("data", DATA, &self.base64());
        xml.finish().to_vec()
    }

    /// The payload of the metadata node (XEP-0084 §4.2.1).
    pub fn metadata(&self) -> Vec<u8> {
        let mut xml = Xml::new();
        xml.start("metadata").attr("xmlns", METADATA).start("info");
        xml.attr("bytes", &self.bytes.len().to_string()).attr("id", &self.id());
        if let Some((width, height)) = size(&self.bytes) {
            xml.attr("height", &height.to_string());
            xml.attr("type", self.ty).attr("width", &width.to_string());
        } else {
            xml.attr("type", self.ty);
        }
        xml.end().end();
        xml.finish().to_vec()
    }
}

/// The media type that the first bytes show.
fn kind(bytes: &[u8]) -> Option<&'static str> {
    let starts = |with: &[u8]| bytes.starts_with(with);
    Some(match bytes {
        _ if starts(PNG) => "image/png",
        _ if starts(b"\xff\xd8\xff") => "image/jpeg",
        _ if starts(b"GIF87a") || starts(b"GIF89a") => "image/gif",
        _ if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") => "image/webp",
        _ => return None,
    })
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Width and height in pixels, as the header says, if the schema of XEP-0084 can hold them (16 bits).
fn size(bytes: &[u8]) -> Option<(u16, u16)> {
    let (width, height) = match kind(bytes)? {
        "image/png" => (be(bytes, 16, 4)?, be(bytes, 20, 4)?),
        "image/gif" => (le(bytes, 6, 2)?, le(bytes, 8, 2)?),
        "image/webp" => webp(bytes)?,
        _ => jpeg(bytes)?,
    };
    let side = |pixels: u32| u16::try_from(pixels).ok().filter(|pixels| *pixels > 0);
    Some((side(width)?, side(height)?))
}

fn webp(bytes: &[u8]) -> Option<(u32, u32)> {
    match bytes.get(12..16)? {
        b"VP8X" => Some((le(bytes, 24, 3)? + 1, le(bytes, 27, 3)? + 1)),
        b"VP8 " => Some((le(bytes, 26, 2)? & 0x3fff, le(bytes, 28, 2)? & 0x3fff)),
        // 14 bits each, less one.
        b"VP8L" => {
            let both = le(bytes, 21, 4)?;
            Some(((both & 0x3fff) + 1, ((both >> 14) & 0x3fff) + 1))
        }
        _ => None,
    }
}

/// The first frame header among the segments, each of which moves forward.
fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at: usize = 2;
    loop {
        let marker = *bytes.get(at + 1).filter(|_| bytes.get(at) == Some(&0xff))?;
        match marker {
            // A fill byte.
            0xff => at += 1,
            // Frame headers; among them are tables (C4, CC) and an extension (C8).
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                return Some((be(bytes, at + 7, 2)?, be(bytes, at + 5, 2)?));
            }
            // Without a length.
            0x01 | 0xd0..=0xd8 => at += 2,
            // The image itself, or its end.
            0xd9 | 0xda => return None,
            _ => at += 2 + usize::try_from(be(bytes, at + 2, 2)?).ok()?.max(2),
        }
    }
}

/// A number of `len` bytes, the most significant first.
fn be(bytes: &[u8], from: usize, len: usize) -> Option<u32> {
    let digits = bytes.get(from..from.checked_add(len)?)?;
    Some(digits.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// A number of `len` bytes, the least significant first.
fn le(bytes: &[u8], from: usize, len: usize) -> Option<u32> {
    let digits = bytes.get(from..from.checked_add(len)?)?;
    Some(digits.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(bytes: &[u8]) -> Result<Image, NoImage> {
        Image::read(&STANDARD.encode(bytes), 1_000)
    }

    /// A header of each kind, 3 pixels wide and 2 high.
    fn kinds() -> Vec<(&'static str, Vec<u8>)> {
        let webp = |chunk: &[u8], rest: &[u8]| [b"RIFF\x20\0\0\0WEBP", chunk, rest].concat();
        vec![
            ("image/png", [PNG, b"\0\0\0\x0dIHDR\0\0\0\x03\0\0\0\x02\x08"].concat()),
            ("image/gif", b"GIF89a\x03\0\x02\0".to_vec()),
            ("image/gif", b"GIF87a\x03\0\x02\0".to_vec()),
            ("image/webp", webp(b"VP8X", b"\x0a\0\0\0\0\0\0\0\x02\0\0\x01\0\0")),
            ("image/webp", webp(b"VP8 ", b"\x0a\0\0\0\x10\0\0\x9d\x01\x2a\x03\0\x02\0")),
            ("image/webp", webp(b"VP8L", b"\x0a\0\0\0\x2f\x02\x40\0\0")),
            (
                "image/jpeg",
                b"\xff\xd8\xff\xe0\0\x04JF\xff\xff\xc4\0\x02\xff\xc2\0\x11\x08\0\x02\0\x03"
                    .to_vec(),
            ),
        ]
    }

    #[test]
    fn the_kind_and_the_size_are_in_the_first_bytes() {
        for (ty, bytes) in kinds() {
            let read = image(&bytes).unwrap();
            assert_eq!((read.ty(), size(&bytes)), (ty, Some((3, 2))), "{bytes:?}");
            let metadata = String::from_utf8(read.metadata()).unwrap();
            assert_eq!(
                metadata,
                format!(
                    "<metadata xmlns='urn:xmpp:avatar:metadata'><info bytes='{}' id='{}' height='2' \
                     type='{ty}' width='3'/></metadata>",
                    bytes.len(),
                    read.id()
                )
            );
        }
    }

    /// What is cut, or lies about its length, is an image without a size, or none; nothing is read twice.
    #[test]
    fn a_hostile_image_is_only_bytes() {
        for (_, bytes) in kinds() {
            for end in 0..bytes.len() {
                let cut = &bytes[..end];
                let _ = (kind(cut), size(cut));
            }
        }
        for bytes in [
            b"\xff\xd8\xff\xe0\0\0".repeat(50),
            b"\xff".repeat(900),
            [&b"\xff\xd8\xff\xe0\xff\xff"[..], &b"\xff".repeat(300)].concat(),
            [PNG, &b"\0".repeat(40)].concat(),
            [PNG, b"\0\0\0\x0dIHDR\0\x01\0\0\0\0\0\x02"].concat(),
        ] {
            assert_eq!(size(&bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn only_what_clients_show_is_an_image() {
        assert_eq!(image(b""), Err(NoImage::Empty));
        assert_eq!(image(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), Err(NoImage::Unknown));
        assert_eq!(image(b"BM"), Err(NoImage::Unknown));
        assert_eq!(Image::read(" \n ", 10), Err(NoImage::Empty));
        for wrong in ["iVBORw0KGgo*", "iVBORw0KGg", "=", "ä", "iVBORw0KGgo=="] {
            assert_eq!(Image::read(wrong, 10), Err(NoImage::NotBase64), "{wrong}");
        }
        assert_eq!(Image::read("iVBOR\n w0KGgo=\t", 8).map(|image| image.ty), Ok("image/png"));
        assert_eq!(Image::read("iVBORw0KGgo=", 7), Err(NoImage::TooLarge));
        assert_eq!(Image::read(&"A".repeat(10_000), 100), Err(NoImage::TooLarge));
    }

    /// RFC 3174's SHA-1 of the bytes, not of the Base64.
    #[test]
    fn an_image_is_known_by_its_hash() {
        let image = Image::read("iVBO Rw0KGgo=", 8).unwrap();
        assert_eq!(image.id(), "4caece539b039b16e16206ea2478f8c5ffb2ca05");
        assert_eq!(image.base64(), "iVBORw0KGgo=");
        assert_eq!(image.data(), b"<data xmlns='urn:xmpp:avatar:data'>iVBORw0KGgo=</data>");
    }
}
