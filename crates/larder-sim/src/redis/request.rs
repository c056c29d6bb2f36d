//! Requests as clients write them: arrays of strings.

/// A command with its arguments.
pub type Command = Vec<Vec<u8>>;

/// Takes the next whole command off the front of `input`; `None` until it is there.
///
/// # Panics
/// On what no client of ours writes.
pub fn next(input: &mut Vec<u8>) -> Option<Command> {
    let (command, length) = parse(input)?;
    input.drain(..length);
    Some(command)
}

fn parse(input: &[u8]) -> Option<(Command, usize)> {
    let mut at = 0;
    let count = number(input, &mut at, b'*')?;
    let mut command = Vec::with_capacity(count);
    for _ in 0..count {
        let length = number(input, &mut at, b'$')?;
        let bytes = input.get(at..at + length)?;
        input.get(at + length..at + length + 2)?;
        command.push(bytes.to_vec());
        at += length + 2;
    }
    Some((command, at))
}

fn number(input: &[u8], at: &mut usize, kind: u8) -> Option<usize> {
    let rest = input.get(*at..)?;
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    assert_eq!(rest[0], kind, "clients send arrays of strings");
    let text = std::str::from_utf8(&rest[1..end]).expect("a number");
    *at += end + 2;
    Some(text.parse().expect("a number"))
}

/// A command as a client writes it.
pub fn write(command: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", command.len()).into_bytes();
    for word in command {
        let word = word.as_ref();
        out.extend(format!("${}\r\n", word.len()).as_bytes());
        out.extend(word);
        out.extend(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_whole_one_after_the_other() {
        let mut input = [write(&["GET", "a\r\nb"]), write(&["PING"])].concat();
        let last = input.pop().unwrap();
        assert_eq!(next(&mut input).unwrap(), [b"GET".to_vec(), b"a\r\nb".to_vec()]);
        assert_eq!(next(&mut input), None);
        input.push(last);
        assert_eq!(next(&mut input).unwrap(), [b"PING".to_vec()]);
        assert_eq!(next(&mut input), None);
    }
}
