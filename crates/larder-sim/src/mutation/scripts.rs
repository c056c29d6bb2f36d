//! The rules of the scripts, each as the change of the text that switches it off.

/// A change of a script.
#[derive(Debug)]
pub struct Change {
    /// Which script.
    pub script: &'static str,
    /// What is wrong then.
    pub what: &'static str,
    from: &'static str,
    to: &'static str,
}

impl Change {
    pub(super) const fn new(
        script: &'static str,
        what: &'static str,
        from: &'static str,
        to: &'static str,
    ) -> Self {
        Self { script, what, from, to }
    }

    /// The changed script; any other as it is.
    pub fn apply(&self, text: &str) -> String {
        let title =
            TITLES.iter().find(|(script, _)| *script == self.script).expect("every script has a title").1;
        if text.contains(title) { text.replacen(self.from, self.to, 1) } else { text.to_owned() }
    }
}

/// What each script says of itself.
const TITLES: &[(&str, &str)] = &[
    ("lease", "-- Asks for the right to load"),
    ("fill", "-- Stores what was loaded"),
    ("release", "-- Gives a lease back"),
    ("stamps", "-- Reads the stamps of scopes, and of the tags"),
    ("inv", "-- Invalidates:"),
    ("hb", "-- Heartbeat:"),
    ("recover", "-- Decides whether this server continues"),
    ("barrier", "-- Settles an outage"),
    ("log_append", "-- Appends events to a tenant's log"),
    ("log_read", "-- Reads a tenant's log"),
];

/// All of them.
///
/// Not here, but in `held`: what tests against real servers notice. And not here, since nothing can go wrong without them as long as another rule holds:
/// * the epoch at a fill: the entry carries it, and every reader looks at it;
/// * the floor of a new epoch, and the new number where a barrier begins one: each is the second lock to the other, since
///   a number is random and the floor above every stamp of before;
/// * the blessing at an invalidation and at a heartbeat: no reader accepts a state that does not bless the server, and
///   every heartbeat asks for the replication id before it;
/// * the blessing at a read: no entry of a server that is another by now is of an epoch that the reader follows, and the
///   connection ends with the process;
/// * `LT` at a registration: every heartbeat of this engine asks for a whole lease, so none is shorter than before;
/// * that no stamp of the call itself is forgotten: the floor would rise to it, and more be dead than need be;
/// * the number of a log's last message: where it does not rise, logs are read more often than they need be;
/// * the blessing at an append: nobody uses a server for its logs before it is blessed, or after it has become another;
/// * the blessing at a read of a log: what a server that is not blessed says is asked again in the epoch that begins there;
/// * the message of a barrier's new epoch: whoever follows the stream then is not trusted, and registers anew before.
pub(super) const SCRIPTS: &[Change] = &[
    Change::new(
        "lease",
        "what was invalidated is said to be there",
        "tonumber(s[j]) > ver then valid = false",
        "false then valid = false",
    ),
    Change::new(
        "lease",
        "what was expired is said to be there",
        "for j = 5, #s do\n    if s[j] and tonumber(s[j]) > ver then valid",
        "for j = 5, 4 + #scopes do\n    if s[j] and tonumber(s[j]) > ver then valid",
    ),
    Change::new(
        "lease",
        "a lease is granted while another holds it",
        "if alive and -tonumber(alive) > now then",
        "if false then",
    ),
    Change::new(
        "lease",
        "a dead holder is waited for",
        "if alive and -tonumber(alive) > now then",
        "if alive then alive = '-9e15'",
    ),
    Change::new("lease", "a late request leaves a lease", "if now > deadline then", "if false then"),
    Change::new(
        "lease",
        "the version is ahead of the head",
        "return {'LEASE', current, string.format('%.0f', head)}",
        "return {'LEASE', current, string.format('%.0f', head + 1000000)}",
    ),
    Change::new(
        "lease",
        "those who wait are not registered",
        "redis.call('HSET', lease, 'w' .. node, '1')",
        "",
    ),
    Change::new(
        "fill",
        "no lease is needed",
        "~= token then return {'LOST'} end",
        "== 0 then return {'LOST'} end",
    ),
    Change::new(
        "fill",
        "stamps do not matter",
        "if s[j] and tonumber(s[j]) > ver then valid = false end",
        "",
    ),
    Change::new("fill", "the floor does not matter", "and ver >= tonumber(s[3])", ""),
    Change::new(
        "fill",
        "what was expired during the load is not told",
        "stamp > ver and stamp > expired then expired = stamp end",
        "false then expired = stamp end",
    ),
    Change::new("fill", "the lease stays", "redis.call('DEL', lease)", ""),
    Change::new("fill", "nobody is woken", "redis.call('SPUBLISH'", "string.format('%s%s'"),
    Change::new("release", "anybody may give it back", "~= ARGV[1] then return 0", "== 0 then return 0"),
    Change::new("release", "the lease stays", "redis.call('DEL', lease)", ""),
    Change::new("release", "nobody is woken", "redis.call('SPUBLISH'", "string.format('%s%s'"),
    Change::new(
        "stamps",
        "that a tag was invalidated is not read",
        "ARGV[#ARGV + 1] = tags[j]",
        "ARGV[#ARGV + 1] = '!z'",
    ),
    Change::new(
        "stamps",
        "that a tag was expired is not read",
        "ARGV[#ARGV + 1] = 'x' .. string.sub(tags[j], 2)",
        "ARGV[#ARGV + 1] = '!z'",
    ),
    Change::new(
        "stamps",
        "what the reader knows is not read",
        "ARGV[1] = '!i' .. ARGV[1]",
        "ARGV[1] = '!i' .. ARGV[1] for j = 2, #ARGV do ARGV[j] = '!z' end",
    ),
    Change::new("stamps", "the floor is not read", "'!e', '!h', '!f', unpack", "'!e', '!h', '!b', unpack"),
    Change::new("inv", "scopes get no stamp", "for j = 1, scopes do", "for j = 1, 0 do"),
    Change::new(
        "inv",
        "patterns are not passed on",
        "unpack(ARGV, 9)}",
        "unpack(ARGV, 9, 8 + scopes + (#KEYS - 1) / 2)}",
    ),
    Change::new("inv", "a stamp may come twice", "math.max(prev + 1, now)", "math.max(prev, now)"),
    Change::new("inv", "entries stay", "redis.call('DEL', entry)", ""),
    Change::new("inv", "leases stay", "redis.call('DEL', lease)", ""),
    Change::new(
        "inv",
        "those who wait are not woken",
        "redis.call('SPUBLISH', ARGV[3]",
        "string.format('%s%s', ARGV[3]",
    ),
    Change::new(
        "inv",
        "the floor stays where stamps are forgotten",
        "if its > risen then risen = its end",
        "",
    ),
    Change::new(
        "inv",
        "other nodes are not told",
        "redis.call('SPUBLISH', ARGV[2],",
        "string.format('%s%s', ARGV[2],",
    ),
    Change::new(
        "inv",
        "the head before it is told wrong",
        "text(prev), text(stamp), text(risen)",
        "text(stamp), text(stamp), text(risen)",
    ),
    Change::new(
        "inv",
        "holders are not named",
        "if string.sub(node, 1, 2) == '!n' and node ~=",
        "if false and node ~=",
    ),
    Change::new(
        "inv",
        "every epoch is old",
        "reply[4] = text(math.max(0, now - tonumber(s[5] or now)))",
        "reply[4] = text(1e12)",
    ),
    Change::new("hb", "silence is not flagged", "now + tonumber(last) > lease_us then", "false then"),
    Change::new(
        "hb",
        "nobody is registered",
        "'-' .. text(now + lease_us), '!n' .. ARGV[2])",
        "-5, '!n' .. ARGV[2])",
    ),
    Change::new(
        "recover",
        "every server is blessed",
        "if no_past then",
        "if true then redis.call('ZADD', state, -1, '!i' .. label) return {'OK', label, epoch} end if no_past then",
    ),
    Change::new(
        "recover",
        "a server that was a replica in between is blessed",
        "if no_past then",
        "if true then",
    ),
    Change::new(
        "recover",
        "every epoch has the same number",
        "-- A new epoch.",
        "ARGV[1] = '7'\n-- A new epoch.",
    ),
    Change::new(
        "recover",
        "registrations are lost",
        "for member, expires in pairs(nodes) do",
        "for member, expires in pairs({}) do",
    ),
    Change::new("recover", "other nodes are not told", "redis.call('SPUBLISH'", "string.format('%s%s'"),
    Change::new("barrier", "nobody is waited for", "if #missing == 0 then", "if true then"),
    Change::new(
        "barrier",
        "those who were registered are not needed",
        "if tonumber(expires) <= outage then",
        "if false then",
    ),
    Change::new(
        "barrier",
        "those whom others knew are not needed",
        "for j = 7, #ARGV do needed[ARGV[j]] = true end",
        "",
    ),
    Change::new(
        "barrier",
        "who is missing costs nothing",
        "if ARGV[4] ~= '1' then return",
        "if ARGV[4] == '1' then redis.call('ZREM', state, '!o') return {'DONE'} else return",
    ),
    Change::new("log_append", "the epoch of the coherence state does not matter", "m[3] ~= coherence or", ""),
    Change::new("log_append", "an id is taken again", "known = redis.call('GET', key)", "known = false"),
    Change::new(
        "log_append",
        "a repeated batch is taken again",
        "if number and tonumber(number) == tonumber(ARGV[6]) then",
        "if false then",
    ),
    Change::new(
        "log_append",
        "a late batch is taken",
        "if number and tonumber(number) > tonumber(ARGV[6]) then",
        "if false then",
    ),
    Change::new("log_append", "dropped events end no epoch", "or ARGV[5] == '1'", ""),
    Change::new(
        "log_append",
        "an epoch that begins with no event is not told",
        "elseif begins then",
        "elseif false then",
    ),
    Change::new("log_append", "events of an epoch that has ended stay", "redis.call('DEL', stream)", ""),
    Change::new(
        "log_append",
        "other nodes are not told",
        "redis.call('SPUBLISH', ARGV[2]",
        "string.format('%s%s', ARGV[2]",
    ),
    Change::new("log_append", "events are not counted", "'o', text(offset), 'c'", "'o', '0', 'c'"),
    Change::new("log_read", "an epoch that has ended is read", "or m[3] ~= coherence then", "then"),
    Change::new(
        "log_read",
        "a log that begins is not told",
        "local number = text(redis.call('INCR', KEYS[4]))\n  redis.call('SPUBLISH', ARGV[8], cmsgpack.pack({'E', number, ARGV[9], ARGV[2], '1'}))",
        "",
    ),
    Change::new("barrier", "the flag stays", "redis.call('ZREM', state, '!o')", ""),
];
