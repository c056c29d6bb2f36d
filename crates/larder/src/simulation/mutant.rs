//! Rules of the protocol that a simulation can switch off, to see that it notices.

/// A rule of the protocol, switched off.
///
/// Not here, since a simulation cannot get between their steps or another rule holds as well; the unit tests of
/// `coherence` hold them: that the map changes before the counter; that good state hides what was loaded without Redis
/// before its period has ended; that a heartbeat renews nothing in a later trust (one task makes heartbeats and links); that
/// a reply of an epoch that was left settles nothing; and that nobody joins a flight from before a doubt (what was missed puts every
/// flight from before in doubt for those who join as well); that what a log has no more is a reset (who finds the event
/// that he waits for gone is reset in any case).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mutant {
    /// A hit does not look at the lease.
    NoLease,
    /// A hit loads the change counter before it looks at the lease.
    CounterBeforeLease,
    /// A hit remembers the counter of after its look at the map.
    SeenAfterTheMap,
    /// A new entry remembers the counter of after its check.
    SeenAfterAdmission,
    /// A hit raises the stamp of an entry before it remembers that the entry was expired.
    StampBeforeExpiration,
    /// Who waits for a flight is not told that it was dropped.
    DropUnnoticed,
    /// What was loaded past Redis is admitted as of the end of its load.
    FenceOfTheEnd,
    /// Memory serves entries of any epoch.
    EpochIgnored,
    /// Memory serves what the map does not cover any more.
    CoverIgnored,
    /// The map forgets, and covers what it has forgotten.
    PruneUncovered,
    /// The sweep stamps entries with what was applied after its check.
    SweptAfter,
    /// What was read from Redis is admitted as of now, not as of the read.
    AdmittedAsOfNow,
    /// What was read from Redis is admitted under the head of after the value.
    HeadAfterTheValue,
    /// An own invalidation blocks nothing while it is under way.
    NoBlock,
    /// The reply of an own invalidation does not change the map.
    ReplyNotApplied,
    /// A gap between pushes puts nothing in doubt.
    GapsIgnored,
    /// A head that is ahead of the pushes puts nothing in doubt.
    HeadsIgnored,
    /// The lease counts from the reply of the heartbeat.
    LeaseFromTheReply,
    /// What was loaded without Redis is served in a later outage.
    PeriodIgnored,
    /// Trust does not end the untrusted period.
    PeriodKeptAtTrust,
    /// A lapsed lease that is renewed does not end the untrusted period.
    PeriodKeptAtLapse,
    /// What was loaded without Redis is not guarded against invalidations.
    DegradedUnguarded,
    /// What was loaded without Redis is kept from the end of its load.
    DegradedFromTheEnd,
    /// An invalidation does not detach flights.
    FlightsStay,
    /// What a joined flight brings is not looked at.
    JoinedUnchecked,
    /// Every flight may be joined.
    JoinAny,
    /// A stamp of an epoch that this node has not followed is of one that is over.
    UnknownEpochsTrusted,
    /// Who joins a flight accepts what it brings as of before the look at the lease.
    AskedBeforeTheLease,
    /// Readers of Redis do not see that it has lost what this node was told of.
    LossUnnoticed,
    /// The same of what a pattern had invalidated.
    LostPatternsUnnoticed,
    /// A message that follows one of the past is one that follows what was missed.
    LostHistoryGoesOn,
    /// What was read of a server that turns out to have lost its history is served until the lease ends.
    LeaseOfThePast,
    /// Readers of Redis do not look at stamps.
    StampsIgnored,
    /// Readers of Redis do not miss the stamps of tags that an entry has beside those that they asked for.
    UnnamedTagsIgnored,
    /// Readers of Redis do not look at the epoch.
    StoredEpochIgnored,
    /// Readers of Redis do not look at the floor.
    FloorIgnored,
    /// A value gets the version of its fill, not of its lease.
    VersionOfTheFill,
    /// A value whose fill was refused is kept in memory.
    RefusedFillsKept,
    /// An invalidation is deferred at the first failure.
    DeferredTooSoon,
    /// Acknowledgements are not waited for.
    NobodyAcks,
    /// The age of the epoch is no reason to wait.
    EpochOfAnyAge,
    /// What was deferred is never delivered.
    JournalLost,
    /// An outage is not settled.
    NoBarrier,
    /// An epoch of old that comes back is not replaced by a new one.
    OldEpochsStay,
    /// The stamps that callers bring are not looked at.
    StampsOfCallersIgnored,
    /// What others invalidate between the call of a set and its own invalidation is not looked at.
    GivenUnwatched,
    /// A value that is set is stored though messages of before its lease have not arrived.
    GivenUnawaited,
    /// A flight that brings a value which was set counts from its own beginning, not from the call.
    GivenAsOfItsFlight,
    /// An invalidation by a pattern stamps nothing.
    PatternsUnstamped,
    /// No pattern matches any key.
    PatternsMatchNothing,
    /// A pattern that is forgotten for want of room concerned nothing.
    RuleForgotten,
    /// So of all patterns, where there are too many.
    RulesForgotten,
    /// What is in Redis is spared by patterns that this node has not seen.
    RulesOfBefore,
    /// What is in Redis is spared by an own pattern while others' before it are still on their way.
    RulesAhead,
    /// What was expired is fresh in memory.
    ExpirationsIgnored,
    /// What was expired is fresh in Redis.
    StoredExpirationsIgnored,
    /// While an own expiration is under way, what it concerns is fresh.
    ExpiringIgnored,
    /// An entry's stamp is raised past an expiration before the entry remembers that.
    ExpiredAtLate,
    /// A value whose life is lengthened gets the version of that moment.
    TouchedAsNew,
    /// An expired value whose life is lengthened in memory is fresh again.
    TouchedFresh,
    /// A life is lengthened in memory as of a moment after the value was judged.
    TouchFenceLate,
    /// What concerns all tenants goes to one bucket.
    FirstBucketOnly,
    /// What concerns a spread tenant goes to one of its parts.
    FirstPartOnly,
    /// What some buckets could not be told counts as done.
    PartlyDeferredIsDone,
    /// An event enters the log when Redis has been told what it invalidates.
    LoggedUnacknowledged,
    /// An event enters the log though what it invalidates was deferred.
    LoggedUndelivered,
    /// An event enters the log when what it invalidates has been delivered.
    LoggedAsDelivered,
    /// An event enters the log before those that were published before it.
    LinesOvertaken,
    /// Events that were dropped for want of room are missing, and the log goes on.
    DroppedUntold,
    /// The numbers of messages are not looked at.
    LostMessagesIgnored,
    /// How far the logs are is not asked.
    LogsNotCompared,
    /// That the logs belong to another epoch of the coherence state is not looked at.
    EpochsOfLogsIgnored,
    /// A message of another epoch of a log is followed, be that of the past or not.
    MessagesLead,
    /// A log of the past is taken for what it is now, where the server has gone back.
    LeftLogsTaken,
    /// A log of the past is never believed, however long it is the only one there is.
    NeverBelieved,
    /// A message of another epoch of a log says nothing.
    OtherEpochsIgnored,
    /// Attempts to put the same events into the log name the same new epoch.
    EpochNamedTwice,
    /// An event that is not the next is taken.
    EventsSkipped,
    /// A read settles also what was put in doubt after it began.
    LaterDoubtsSettled,
    /// Watchers are not told that what they have seen is void.
    ResetsUntold,
    /// A watcher that is too slow goes on with what is still there.
    SlowUntold,
    /// What is replayed may have holes.
    ReplayedWithHoles,
}

impl Mutant {
    /// Those that only another thread between two steps shows: the simulation's threads take turns at fewer places than the
    /// unit tests of `interleavings`, which notice these and more.
    pub const BETWEEN_STEPS: &[Self] =
        &[Self::StampBeforeExpiration, Self::DropUnnoticed, Self::FenceOfTheEnd];

    /// All that the simulation and its directed schedules notice.
    pub const ALL: &[Self] = &[
        Self::NoLease,
        Self::CounterBeforeLease,
        Self::SeenAfterTheMap,
        Self::SeenAfterAdmission,
        Self::EpochIgnored,
        Self::CoverIgnored,
        Self::PruneUncovered,
        Self::SweptAfter,
        Self::AdmittedAsOfNow,
        Self::HeadAfterTheValue,
        Self::NoBlock,
        Self::ReplyNotApplied,
        Self::GapsIgnored,
        Self::HeadsIgnored,
        Self::LeaseFromTheReply,
        Self::PeriodIgnored,
        Self::PeriodKeptAtTrust,
        Self::PeriodKeptAtLapse,
        Self::DegradedUnguarded,
        Self::DegradedFromTheEnd,
        Self::FlightsStay,
        Self::JoinedUnchecked,
        Self::JoinAny,
        Self::UnknownEpochsTrusted,
        Self::AskedBeforeTheLease,
        Self::LossUnnoticed,
        Self::LostPatternsUnnoticed,
        Self::LostHistoryGoesOn,
        Self::LeaseOfThePast,
        Self::StampsIgnored,
        Self::UnnamedTagsIgnored,
        Self::StoredEpochIgnored,
        Self::FloorIgnored,
        Self::VersionOfTheFill,
        Self::RefusedFillsKept,
        Self::DeferredTooSoon,
        Self::NobodyAcks,
        Self::EpochOfAnyAge,
        Self::JournalLost,
        Self::NoBarrier,
        Self::OldEpochsStay,
        Self::StampsOfCallersIgnored,
        Self::GivenUnwatched,
        Self::GivenUnawaited,
        Self::GivenAsOfItsFlight,
        Self::PatternsUnstamped,
        Self::PatternsMatchNothing,
        Self::RuleForgotten,
        Self::RulesForgotten,
        Self::RulesOfBefore,
        Self::RulesAhead,
        Self::ExpirationsIgnored,
        Self::StoredExpirationsIgnored,
        Self::ExpiringIgnored,
        Self::ExpiredAtLate,
        Self::TouchedAsNew,
        Self::TouchedFresh,
        Self::TouchFenceLate,
        Self::FirstBucketOnly,
        Self::FirstPartOnly,
        Self::PartlyDeferredIsDone,
        Self::LoggedUnacknowledged,
        Self::LoggedUndelivered,
        Self::LoggedAsDelivered,
        Self::LinesOvertaken,
        Self::DroppedUntold,
        Self::LostMessagesIgnored,
        Self::LogsNotCompared,
        Self::EpochsOfLogsIgnored,
        Self::MessagesLead,
        Self::LeftLogsTaken,
        Self::NeverBelieved,
        Self::OtherEpochsIgnored,
        Self::EpochNamedTwice,
        Self::EventsSkipped,
        Self::LaterDoubtsSettled,
        Self::ResetsUntold,
        Self::SlowUntold,
        Self::ReplayedWithHoles,
    ];
}
