//! The chunks in which a non-parsed-header program writes its body, RFC 9112 section 7.1.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of the longest line with a chunk's size, or of a trailer field.
const MAX_LINE: usize = 8 << 10;
const MALFORMED: &str = "the program's body is not in chunks, as its Transfer-Encoding says";

/// Decodes chunks as they are written.
#[derive(Default)]
pub(crate) struct Chunks {
    state: State,
    /// What was written and not decoded yet.
    pending: BytesMut,
}

#[derive(Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    /// Bytes of the chunk that are left.
    Data(u64),
    /// The line end after a chunk.
    End,
    Trailer,
    Over,
}

impl Chunks {
    /// Returns the bytes of the body that `written` ends. What follows the last chunk is left out, trailer fields included.
    ///
    /// # Errors
    /// If these are no chunks.
    pub(crate) fn decode(&mut self, written: &[u8]) -> Result<Bytes, &'static str> {
        self.pending.extend_from_slice(written);
        let mut decoded = BytesMut::new();
        while self.step(&mut decoded)? {}
        Ok(decoded.freeze())
    }

    /// Returns whether the last chunk and all trailer fields were written.
    pub(crate) fn are_over(&self) -> bool {
        self.state == State::Over
    }

    /// Decodes one part; returns whether another one may follow in what is pending.
    fn step(&mut self, decoded: &mut BytesMut) -> Result<bool, &'static str> {
        match self.state {
            State::Size => match httparse::parse_chunk_size(&self.pending) {
                Ok(httparse::Status::Complete((length, size))) => {
                    self.pending.advance(length);
                    self.state = if size == 0 { State::Trailer } else { State::Data(size) };
                    Ok(true)
                }
                Ok(httparse::Status::Partial) if self.pending.len() <= MAX_LINE => Ok(false),
                _ => Err(MALFORMED),
            },
            State::Data(left) => {
                let length = left.min(self.pending.len() as u64);
                decoded.extend_from_slice(&self.pending.split_to(length as usize));
                self.state = if left == length { State::End } else { State::Data(left - length) };
                Ok(left == length)
            }
            State::End | State::Trailer => {
                let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') else {
                    return if self.pending.len() <= MAX_LINE { Ok(false) } else { Err(MALFORMED) };
                };
                let line = self.pending.split_to(end + 1);
                let is_empty = line.trim_ascii().is_empty();
                self.state = match self.state {
                    State::End if !is_empty => return Err(MALFORMED),
                    State::End => State::Size,
                    _ if is_empty => State::Over,
                    _ => State::Trailer,
                };
                Ok(true)
            }
            State::Over => {
                self.pending.clear();
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunks_are_decoded_however_they_are_written(chunks in proptest::collection::vec("[ -~]{1,20}", 0..5), cut in 1usize..9) {
            let mut written: String = chunks.iter().map(|it| format!("{:x};a=b\r\n{it}\r\n", it.len())).collect();
            written.push_str("0\r\nX-Trailer: y\r\n\r\nmore");
            let mut decoder = Chunks::default();
            let mut decoded = Vec::new();
            for part in written.as_bytes().chunks(cut) {
                decoded.extend_from_slice(&decoder.decode(part).expect("chunks"));
            }
            prop_assert_eq!(decoded, chunks.concat().into_bytes());
            prop_assert!(decoder.are_over());
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut decoder = Chunks::default();
            if let Ok(decoded) = decoder.decode(&bytes) {
                prop_assert!(decoded.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bad in ["hello", "3\r\nabcd\r\n", "fffffffffffffffff\r\n", "-1\r\n"] {
            assert!(Chunks::default().decode(bad.as_bytes()).is_err(), "{bad}");
        }
        let mut partial = Chunks::default();
        assert_eq!(partial.decode(b"5\r\nhel").expect("a part"), "hel");
        assert!(!partial.are_over());
    }
}
