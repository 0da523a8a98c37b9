//! Base64, RFC 4648, as Kubernetes has it in Secrets and in `binaryData`.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, PAD};

/// Kubernetes takes a last digit whose surplus bits are not zero, too.
const DECODER: GeneralPurpose = GeneralPurpose::new(&STANDARD, PAD.with_decode_allow_trailing_bits(true));

/// Decodes a text; line ends in it are skipped. None if it is not base64.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    DECODER.decode(text.replace(['\r', '\n'], "")).ok()
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
        assert_eq!(decode("Zh=="), Some(b"f".to_vec()));
        for text in ["Zg", "Zg=", "Z===", "=", "Zm9v Zg==", "Zg==Zg==", "Zm-v", "ö==="] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
