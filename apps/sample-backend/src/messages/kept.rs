//! What is cached of a page of messages: its key names the conversation and not the reader, so the entry itself says
//! who may read it. A hit needs no question to the database, and a stranger gets no hit.

use larder::{Codec, CodecError};
use larder_http::Rendered;
use uuid::Uuid;

/// A rendered page with those who may read it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    readers: Vec<Uuid>,
    page: Rendered,
}

impl Kept {
    pub(super) fn new(readers: Vec<Uuid>, page: Rendered) -> Self {
        Self { readers, page }
    }

    /// The page, for one of its readers.
    pub(super) fn page_for(&self, reader: Uuid) -> Option<&Rendered> {
        self.readers.contains(&reader).then_some(&self.page)
    }
}

/// In Redis: one byte for the number of readers, their ids, the page.
impl larder::Value for Kept {
    const CODEC: Codec = Codec::Raw;

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let readers =
            u8::try_from(self.readers.len()).map_err(|_| CodecError("written: it has too many readers"))?;
        out.push(readers);
        self.readers.iter().for_each(|reader| out.extend_from_slice(reader.as_bytes()));
        self.page.encode(out)
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        const TRUNCATED: CodecError = CodecError("read: it is cut off");
        let (&readers, rest) = bytes.split_first().ok_or(TRUNCATED)?;
        let (ids, page) = rest.split_at_checked(usize::from(readers) * 16).ok_or(TRUNCATED)?;
        let readers = ids.as_chunks().0.iter().map(|id| Uuid::from_bytes(*id)).collect();
        Ok(Self { readers, page: Rendered::decode(page)? })
    }

    fn encoded_len(&self) -> Result<usize, CodecError> {
        Ok(1 + self.readers.len() * 16 + self.page.encoded_len()?)
    }

    fn weight(&self, encoded_len: usize) -> usize {
        self.page.weight(encoded_len) + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder::Value;

    #[test]
    fn only_its_readers_get_the_page() {
        let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
        let kept = Kept::new(vec![one], Rendered::json(&["hello"]).unwrap());
        assert!(kept.page_for(one).is_some() && kept.page_for(two).is_none());
    }

    #[test]
    fn what_is_written_is_read_back_whole_and_every_cut_is_noticed() {
        let kept = Kept::new(vec![Uuid::now_v7(), Uuid::nil()], Rendered::json(&["hello"]).unwrap());
        let mut bytes = Vec::new();
        kept.encode(&mut bytes).unwrap();
        assert_eq!(bytes.len(), kept.encoded_len().unwrap());
        assert_eq!(Kept::decode(&bytes).unwrap(), kept);
        for cut in 0..34 {
            assert!(Kept::decode(&bytes[..cut]).is_err(), "{cut}");
        }
    }
}
