//! What can be done to servers and to the ways to them, by name.

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::soak) enum Trouble {
    // What takes several servers.
    FailoverOnDemand,
    KilledAndReplaced,
    StoppedAndReplaced,
    IsolatedAndReplaced,
    SlotMoved,
    AllStopped,
    AllEmpty,
    ReplicaKilled,
    SentinelStopped,
    // What one server suffers: a primary, where there are several.
    Stopped,
    Empty,
    Restarted,
    OldSnapshot,
    ClientsKilled,
    SubscribersKilled,
    WritesPaused,
    ClientsPaused,
    MemoryFull,
    Evicted,
    StateEvicted,
    Flushed,
    SmallBuffers,
    // What happens on the way to it.
    Delays,
    HalfOpen,
    RepliesHeld,
    RequestsHeld,
    Drops,
    RepliesCut,
    Trickles,
    RequestsTrickle,
    Reset,
    Refused,
    Cut,
    MessagesLost,
}

/// What one server can suffer.
pub(super) const OF_ONE: [Trouble; 13] = [
    Trouble::Stopped,
    Trouble::Empty,
    Trouble::Restarted,
    Trouble::OldSnapshot,
    Trouble::ClientsKilled,
    Trouble::SubscribersKilled,
    Trouble::WritesPaused,
    Trouble::ClientsPaused,
    Trouble::MemoryFull,
    Trouble::Evicted,
    Trouble::StateEvicted,
    Trouble::Flushed,
    Trouble::SmallBuffers,
];

/// What can happen on a way.
pub(super) const OF_A_WAY: [Trouble; 12] = [
    Trouble::Delays,
    Trouble::HalfOpen,
    Trouble::RepliesHeld,
    Trouble::RequestsHeld,
    Trouble::Drops,
    Trouble::RepliesCut,
    Trouble::Trickles,
    Trouble::RequestsTrickle,
    Trouble::Reset,
    Trouble::Refused,
    Trouble::Cut,
    Trouble::MessagesLost,
];

impl Trouble {
    /// As the report calls it.
    pub(in crate::soak) fn as_str(self) -> &'static str {
        match self {
            Self::FailoverOnDemand => "failover on demand",
            Self::KilledAndReplaced => "primary killed and replaced",
            Self::StoppedAndReplaced => "primary stopped and replaced",
            Self::IsolatedAndReplaced => "primary isolated and replaced",
            Self::SlotMoved => "slot moved",
            Self::AllStopped => "all servers stopped",
            Self::AllEmpty => "all servers killed and restarted empty",
            Self::ReplicaKilled => "replica killed and restarted",
            Self::SentinelStopped => "Sentinel stopped",
            Self::Stopped => "server stopped",
            Self::Empty => "server killed and restarted empty",
            Self::Restarted => "server restarted with all its data",
            Self::OldSnapshot => "old snapshot restored",
            Self::ClientsKilled => "clients killed",
            Self::SubscribersKilled => "subscribers killed",
            Self::WritesPaused => "writes paused",
            Self::ClientsPaused => "clients paused",
            Self::MemoryFull => "memory full",
            Self::Evicted => "everything evicted by and by",
            Self::StateEvicted => "coherence state evicted",
            Self::Flushed => "flushed",
            Self::SmallBuffers => "subscribers' buffers small",
            Self::Delays => "network delays",
            Self::HalfOpen => "network half open",
            Self::RepliesHeld => "replies held back",
            Self::RequestsHeld => "requests held back",
            Self::Drops => "network drops",
            Self::RepliesCut => "replies cut off",
            Self::Trickles => "network trickles",
            Self::RequestsTrickle => "requests in pieces",
            Self::Reset => "connections reset",
            Self::Refused => "connections refused",
            Self::Cut => "connections cut",
            Self::MessagesLost => "messages lost",
        }
    }
}

/// A round of these, those first ones twice: what only a set-up of several servers suffers.
pub(super) fn round(twice: &[Trouble], once: &[&[Trouble]]) -> Vec<Trouble> {
    [twice, twice].iter().chain(once).copied().flatten().copied().collect()
}
