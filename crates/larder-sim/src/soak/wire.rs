//! What a node and the coordinator say to each other: lines of words, over one connection.

use super::rows::Kind;
use crate::simulation::history::{Effect, Returned};
use std::fmt;
use std::str::{FromStr, SplitAsciiWhitespace};

/// Rows, each with a version.
pub(super) type Versions = Vec<(usize, u64)>;

/// What a node says. Times are microseconds of the machine's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Which node it is.
    Hello { node: usize },
    /// What version has this row now?
    Get { id: u64, row: usize },
    /// These rows change now.
    Put { id: u64, rows: Vec<usize> },
    /// A stamp that some node was given lately.
    Stamp { id: u64 },
    /// A read came back.
    Read(Read),
    /// An invalidation came back.
    Told(Told),
    /// How it stands.
    State(State),
    /// It has read everything once.
    Checked,
    /// Something that must not be.
    Failed { why: String },
}

/// A read that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) row: usize,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) version: u64,
    /// The row whose value it was.
    pub(super) owner: usize,
    /// Whether the node followed the stream with a valid lease after it had begun.
    pub(super) good: bool,
    pub(super) source: Source,
    /// Whether it was served as a fresh one.
    pub(super) fresh: bool,
    /// What the stamp that the reader brought stands for, and what became of older values; 0 if it brought none.
    pub(super) at_least: (u64, Effect),
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Memory,
    Redis,
    Loaded,
    Joined,
}

impl Source {
    const ALL: [Self; 4] = [Self::Memory, Self::Redis, Self::Loaded, Self::Joined];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Loaded => "loaded",
            Self::Joined => "joined",
        }
    }
}

/// An invalidation that came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) how: Returned,
    pub(super) at: u64,
    pub(super) kind: Kind,
    pub(super) effect: Effect,
    pub(super) rows: Versions,
    pub(super) stamp: Option<String>,
}

/// One word.
pub(super) fn name_of(effect: Effect) -> &'static str {
    match effect {
        Effect::Invalidated => "invalidated",
        Effect::Expired => "expired",
    }
}

/// From one word.
pub(super) fn parse_effect(word: &str) -> Option<Effect> {
    [Effect::Invalidated, Effect::Expired].into_iter().find(|effect| name_of(*effect) == word)
}

/// How a node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) at: u64,
    pub(super) good: bool,
    /// Its name in the protocol.
    pub(super) name: String,
    /// What is under way: flights, tasks, blocks, undelivered, waiting.
    pub(super) left: [u64; 5],
    pub(super) loads: u64,
    pub(super) epochs: u64,
    pub(super) missed_pushes: u64,
    /// Reads that brought no value, for the origin failed.
    pub(super) failed: u64,
}

/// What the coordinator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The answer to a question.
    Answer { id: u64, words: String },
    /// Nobody calls any more.
    Stop,
    /// Everything is read once.
    Check,
    /// It shuts down in peace.
    Bye,
}

/// As text: `3=7,4=9`.
pub(super) fn versions(rows: &[(usize, u64)]) -> String {
    rows.iter().map(|(row, version)| format!("{row}={version}")).collect::<Vec<_>>().join(",")
}

/// From text.
pub(super) fn parse_versions(text: &str) -> Option<Versions> {
    text.split(',')
        .map(|pair| pair.split_once('='))
        .map(|pair| Some((pair?.0.parse().ok()?, pair?.1.parse().ok()?)))
        .collect()
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello { node } => write!(f, "hello {node}"),
            Self::Get { id, row } => write!(f, "get {id} {row}"),
            Self::Put { id, rows } => {
                let rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
                write!(f, "put {id} {}", rows.join(","))
            }
            Self::Stamp { id } => write!(f, "stamp {id}"),
            Self::Read(Read { row, began, ended, version, owner, good, source, fresh, at_least }) => {
                let (source, (least, effect)) = (source.as_str(), (at_least.0, name_of(at_least.1)));
                write!(
                    f,
                    "read {row} {began} {ended} {version} {owner} {good} {source} {fresh} {least} {effect}"
                )
            }
            Self::Told(Told { how, at, kind, effect, rows, stamp }) => {
                let (kind, effect, rows) = (kind.as_str(), name_of(*effect), versions(rows));
                write!(f, "told {how:?} {at} {kind} {effect} {rows} {}", stamp.as_deref().unwrap_or("-"))
            }
            Self::State(state) => {
                let State { at, good, name, left, loads, epochs, missed_pushes, failed } = state;
                let left = left.map(|count| count.to_string()).join(",");
                let name = if name.is_empty() { "-" } else { name };
                write!(f, "state {at} {good} {name} {left} {loads} {epochs} {missed_pushes} {failed}")
            }
            Self::Checked => f.write_str("checked"),
            Self::Failed { why } => write!(f, "failed {}", why.replace(['\n', '\r'], " ")),
        }
    }
}

/// The line is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbled;

struct Words<'a>(SplitAsciiWhitespace<'a>);

impl<'a> Words<'a> {
    fn word(&mut self) -> Result<&'a str, Garbled> {
        self.0.next().ok_or(Garbled)
    }

    fn next<T: FromStr>(&mut self) -> Result<T, Garbled> {
        self.word()?.parse().map_err(|_| Garbled)
    }

    fn list<T: FromStr>(&mut self) -> Result<Vec<T>, Garbled> {
        self.word()?.split(',').map(|part| part.parse().map_err(|_| Garbled)).collect()
    }

    fn effect(&mut self) -> Result<Effect, Garbled> {
        parse_effect(self.word()?).ok_or(Garbled)
    }

    fn named<T: Copy>(&mut self, all: &[T], name: impl Fn(T) -> &'static str) -> Result<T, Garbled> {
        let word = self.word()?;
        all.iter().copied().find(|one| name(*one) == word).ok_or(Garbled)
    }
}

impl FromStr for Said {
    type Err = Garbled;

    fn from_str(line: &str) -> Result<Self, Garbled> {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = Words(rest.split_ascii_whitespace());
        Ok(match first {
            "hello" => Self::Hello { node: words.next()? },
            "get" => Self::Get { id: words.next()?, row: words.next()? },
            "put" => Self::Put { id: words.next()?, rows: words.list()? },
            "stamp" => Self::Stamp { id: words.next()? },
            "read" => Self::Read(Read {
                row: words.next()?,
                began: words.next()?,
                ended: words.next()?,
                version: words.next()?,
                owner: words.next()?,
                good: words.next()?,
                source: words.named(&Source::ALL, Source::as_str)?,
                fresh: words.next()?,
                at_least: (words.next()?, words.effect()?),
            }),
            "told" => {
                let all = [Returned::Ok, Returned::Acked, Returned::Deferred];
                let name = |how| match how {
                    Returned::Ok => "Ok",
                    Returned::Acked => "Acked",
                    _ => "Deferred",
                };
                let how = words.named(&all, name)?;
                let (at, kind) = (words.next()?, words.named(&Kind::ALL, Kind::as_str)?);
                let effect = words.effect()?;
                let rows = parse_versions(words.word()?).ok_or(Garbled)?;
                let stamp = Some(words.word()?).filter(|stamp| *stamp != "-").map(str::to_owned);
                Self::Told(Told { how, at, kind, effect, rows, stamp })
            }
            "state" => Self::State(State {
                at: words.next()?,
                good: words.next()?,
                name: words.word()?.to_owned(),
                left: words.list()?.try_into().map_err(|_| Garbled)?,
                loads: words.next()?,
                epochs: words.next()?,
                missed_pushes: words.next()?,
                failed: words.next()?,
            }),
            "checked" => Self::Checked,
            "failed" => Self::Failed { why: rest.to_owned() },
            _ => return Err(Garbled),
        })
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { id, words } => write!(f, "= {id} {words}"),
            Self::Stop => f.write_str("stop"),
            Self::Check => f.write_str("check"),
            Self::Bye => f.write_str("bye"),
        }
    }
}

impl FromStr for Order {
    type Err = Garbled;

    fn from_str(line: &str) -> Result<Self, Garbled> {
        match line {
            "stop" => Ok(Self::Stop),
            "check" => Ok(Self::Check),
            "bye" => Ok(Self::Bye),
            _ => {
                let (id, words) =
                    line.strip_prefix("= ").and_then(|rest| rest.split_once(' ')).ok_or(Garbled)?;
                Ok(Self::Answer { id: id.parse().map_err(|_| Garbled)?, words: words.to_owned() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_said_is_understood() {
        let said = [
            Said::Hello { node: 3 },
            Said::Get { id: 1, row: 2 },
            Said::Put { id: 1, rows: vec![2, 3] },
            Said::Stamp { id: 9 },
            Said::Read(Read {
                row: 1,
                began: 2,
                ended: 3,
                version: 4,
                owner: 5,
                good: true,
                source: Source::Joined,
                fresh: false,
                at_least: (6, Effect::Expired),
            }),
            Said::Told(Told {
                how: Returned::Deferred,
                at: 7,
                kind: Kind::KeyAndTag,
                effect: Effect::Expired,
                rows: vec![(1, 2), (3, 4)],
                stamp: None,
            }),
            Said::State(State { name: "n".to_owned(), left: [1, 2, 3, 4, 5], ..State::default() }),
            Said::Checked,
            Said::Failed { why: "two words".to_owned() },
        ];
        for one in said {
            assert_eq!(one.to_string().parse(), Ok(one.clone()), "{one}");
        }
        for one in [Order::Stop, Order::Check, Order::Bye, Order::Answer { id: 1, words: "a b".to_owned() }] {
            assert_eq!(one.to_string().parse(), Ok(one.clone()), "{one}");
        }
        for garbled in
            ["", "read 1", "told Perhaps 1 key expired 1=1 -", "told Ok 1 key gone 1=1 -", "put 1 x", "= 1"]
        {
            assert!(garbled.parse::<Said>().is_err() && garbled.parse::<Order>().is_err(), "{garbled}");
        }
    }
}
