//! Base64, RFC 4648, as Kubernetes has it in Secrets and in `binaryData`.

/// Decodes a text; line ends in it are skipped. None if it is not base64.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let characters: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let digits = characters.strip_suffix(b"==").or_else(|| characters.strip_suffix(b"=")).unwrap_or(&characters);
    if !characters.len().is_multiple_of(4) {
        return None;
    }
    let mut decoded = Vec::with_capacity(characters.len() / 4 * 3);
    for group in digits.chunks(4) {
        let mut bits = 0;
        for character in group {
            bits = bits << 6 | digit(*character)?;
        }
        let bytes = (bits << (6 * (4 - group.len()))).to_be_bytes();
        decoded.extend(&bytes[1..group.len()]);
    }
    Some(decoded)
}

fn digit(character: u8) -> Option<u32> {
    let value = match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn texts_are_decoded_as_the_rfc_has_them() {
        let cases = [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9v\r\nYmFy\n", "foobar"),
        ];
        for (text, expected) in cases {
            assert_eq!(decode(text).as_deref(), Some(expected.as_bytes()), "{text:?}");
        }
        assert_eq!(decode("//79+w=="), Some(vec![0xff, 0xfe, 0xfd, 0xfb]));
        for text in ["Zg", "Zg=", "Z===", "=", "Zm9v Zg==", "Zg==Zg==", "Zm-v", "ö==="] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
