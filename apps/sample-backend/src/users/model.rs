//! What a user is to others.

use larder::{Codec, CodecError};
use larder_http::{Rendered, rendered};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::time::Time;

/// A user as others see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = User)]
pub struct Person {
    /// Their id.
    pub id: Uuid,
    /// Their name.
    pub name: String,
    /// What they do, in a few words.
    pub headline: String,
}

/// More about a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Profile {
    /// Who it is.
    pub user: Person,
    /// Who they say they are.
    pub bio: String,
    /// How many posts they have written.
    #[schema(minimum = 0)]
    pub posts_count: i64,
    /// When they joined.
    pub joined_at: Time,
}

/// What is cached of a user: the answer of their own route, and what other answers take from it.
///
/// Both kinds of readers must use this one type, since an entry of another type is a miss.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) person: Person,
    pub(crate) rendered: Rendered,
}

impl Known {
    pub(crate) fn new(person: Person) -> Result<Self, serde_json::Error> {
        Ok(Self { rendered: Rendered::json(&person)?, person })
    }
}

/// In Redis: the rendered JSON, and nothing else.
impl larder::Value for Known {
    const CODEC: Codec = Codec::Json;

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        out.extend_from_slice(self.rendered.body());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let person = serde_json::from_slice(bytes).map_err(|_| CodecError("read from JSON"))?;
        let body = bytes::Bytes::copy_from_slice(bytes);
        Ok(Self { person, rendered: Rendered::new(body, rendered::JSON) })
    }

    fn encoded_len(&self) -> Result<usize, CodecError> {
        Ok(self.rendered.body().len())
    }

    fn weight(&self, encoded_len: usize) -> usize {
        let text = self.person.name.len() + self.person.headline.len();
        encoded_len + text + self.rendered.etag().len() + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder::Value;

    #[test]
    fn what_is_written_is_read_back_whole_and_answers_with_the_same_bytes() {
        let person = Person { id: Uuid::nil(), name: "Ünal \"U\" Öz".into(), headline: String::new() };
        let known = Known::new(person).unwrap();
        let mut bytes = Vec::new();
        known.encode(&mut bytes).unwrap();
        assert_eq!(bytes.len(), known.encoded_len().unwrap());
        assert_eq!(Known::decode(&bytes).unwrap(), known);
        assert!(Known::decode(&bytes[1..]).is_err());
    }
}
