//! Enumerations that are words in JSON, in SQL and in the OpenAPI document.

/// Declares an enumeration whose variants are words everywhere outside Rust.
///
/// `choice! { /// Docs. pub enum Status { Draft = "draft", Active = "active" } }`
macro_rules! choice {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        $vis enum $name {
            $(
                #[doc = concat!("`", $word, "`")]
                #[serde(rename = $word)]
                $variant,
            )+
        }

        impl $name {
            /// Every choice.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// What a client is told when it sends something else.
            pub const EXPECTED: &'static str = $crate::choice::choice!(@list $($word),+);

            /// The word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Reads a column of a row.
            ///
            /// # Errors
            /// Where the column is missing or holds another word.
            pub fn of(row: &sqlx::any::AnyRow, column: usize) -> Result<Self, sqlx::Error> {
                let text: &str = sqlx::Row::try_get(row, column)?;
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(sqlx::Error::Decode("a word that is no choice".into())),
                }
            }
        }

        // By hand: the derive does not see words that came through a macro.
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .enum_values(Some([$($word),+]))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }
    };
    (@list $first:literal $(, $word:literal)*) => { concat!($first $(, ", ", $word)*) };
}

pub(crate) use choice;
