//! Posts, jobs, conversations, messages and notifications.

use super::people::People;
use super::rng::Rng;
use super::words::{CATEGORIES, COMPANIES, HEADLINES, INSIGHTS, LOCATIONS, OPENINGS};
use super::{Seeding, Size};
use crate::db::{Bulk, DbError};
use crate::time::DAY;

const KINDS: &[(&str, &str)] = &[
    ("like", "liked your post"),
    ("comment", "commented on your post"),
    ("follow", "follows you now"),
    ("job", "posted a job for you"),
];

pub(super) async fn seed(s: &mut Seeding, size: Size, people: &[People]) -> Result<(), DbError> {
    posts(s, size, people).await?;
    jobs(s, size, people).await?;
    conversations(s, size, people).await?;
    notifications(s, size, people).await
}

/// Three in five rows are the first tenant's.
fn of(people: &[People], i: i64) -> &People {
    &people[usize::from(i % 5 > 2)]
}

async fn posts(s: &mut Seeding, size: Size, people: &[People]) -> Result<(), DbError> {
    let mut bulk = Bulk::new("INSERT INTO posts (id, tenant_id, author_id, body, created_at)");
    let mut rng = Rng::new("posts");
    for i in 0..size.posts {
        let of = of(people, i);
        let created = s.now - rng.below(120 * DAY);
        let row = [
            rng.id(created).to_string().into(),
            of.tenant.into(),
            rng.pick_skewed(&of.users).clone().into(),
            format!("{} {}.", rng.pick(OPENINGS), rng.pick(INSIGHTS)).into(),
            created.into(),
        ];
        s.push(&mut bulk, row).await?;
    }
    s.flush(&mut bulk).await
}

async fn jobs(s: &mut Seeding, size: Size, people: &[People]) -> Result<(), DbError> {
    let mut rng = Rng::new("jobs");
    for (head, names) in [
        ("INSERT INTO categories (id, tenant_id, name)", CATEGORIES),
        ("INSERT INTO locations (id, tenant_id, name)", LOCATIONS),
    ] {
        let mut bulk = Bulk::new(head);
        for (of, name) in people.iter().flat_map(|of| names.iter().map(move |name| (of, name))) {
            let id = rng.id(s.now - 390 * DAY).to_string();
            bulk.push(&mut s.tx, [id.into(), of.tenant.into(), (*name).into()]).await?;
        }
        s.flush(&mut bulk).await?;
    }
    let mut bulk = Bulk::new(
        "INSERT INTO jobs (id, tenant_id, title, company, location, category, salary_min_cents, salary_max_cents, created_at)",
    );
    for i in 0..size.jobs {
        let created = s.now - rng.below(60 * DAY);
        let salary = rng.between(30, 140) * 100_000;
        let row = [
            rng.id(created).to_string().into(),
            of(people, i).tenant.into(),
            (*rng.pick(HEADLINES)).into(),
            (*rng.pick(COMPANIES)).into(),
            (*rng.pick_skewed(LOCATIONS)).into(),
            (*rng.pick_skewed(CATEGORIES)).into(),
            salary.into(),
            (salary + rng.between(5, 40) * 100_000).into(),
            created.into(),
        ];
        s.push(&mut bulk, row).await?;
    }
    s.flush(&mut bulk).await
}

/// Who talks to whom: every fourth conversation has the owner in it.
struct Talk<'p> {
    id: String,
    tenant: &'static str,
    members: [&'p str; 2],
    begun: i64,
    messages: Vec<(i64, usize, String)>,
}

async fn conversations(s: &mut Seeding, size: Size, people: &[People]) -> Result<(), DbError> {
    let mut rng = Rng::new("conversations");
    let mut talks: Vec<Talk<'_>> = (0..size.conversations)
        .map(|i| {
            let of = of(people, i);
            let begun = s.now - rng.between(1, 90) * DAY;
            let first = if i % 4 == 0 { &of.users[0] } else { rng.pick(&of.users) };
            let second = loop {
                let other = rng.pick(&of.users);
                if other != first {
                    break other;
                }
            };
            let members = [first.as_str(), second.as_str()];
            Talk { id: rng.id(begun).to_string(), tenant: of.tenant, members, begun, messages: Vec::new() }
        })
        .collect();
    let count = i64::try_from(talks.len()).unwrap_or(i64::MAX);
    for _ in 0..size.messages {
        let talk = &mut talks[usize::try_from(rng.below(count)).unwrap_or(0)];
        let at = talk.begun + rng.below(s.now - talk.begun + 1);
        let sender = usize::from(rng.below(2) == 1);
        talk.messages.push((at, sender, format!("{} {}.", rng.pick(OPENINGS), rng.pick(INSIGHTS))));
    }
    write_talks(s, &mut rng, &mut talks).await
}

async fn write_talks(s: &mut Seeding, rng: &mut Rng, talks: &mut [Talk<'_>]) -> Result<(), DbError> {
    let mut bulk =
        Bulk::new("INSERT INTO conversations (id, tenant_id, last_message, created_at, updated_at)");
    for talk in talks.iter_mut() {
        talk.messages.sort();
        let (updated, last) =
            talk.messages.last().map_or((talk.begun, String::new()), |(at, _, body)| (*at, body.clone()));
        let row =
            [talk.id.clone().into(), talk.tenant.into(), last.into(), talk.begun.into(), updated.into()];
        s.push(&mut bulk, row).await?;
    }
    s.flush(&mut bulk).await?;
    let mut members = Bulk::new("INSERT INTO participants (conversation_id, user_id)");
    for (talk, member) in talks.iter().flat_map(|talk| talk.members.map(|member| (talk, member))) {
        members.push(&mut s.tx, [talk.id.clone().into(), member.to_owned().into()]).await?;
    }
    s.flush(&mut members).await?;
    let mut bulk =
        Bulk::new("INSERT INTO messages (id, tenant_id, conversation_id, sender_id, body, created_at)");
    for talk in talks.iter() {
        for (at, sender, body) in &talk.messages {
            let row = [
                rng.id(*at).to_string().into(),
                talk.tenant.into(),
                talk.id.clone().into(),
                talk.members[*sender].to_owned().into(),
                body.clone().into(),
                (*at).into(),
            ];
            s.push(&mut bulk, row).await?;
        }
    }
    s.flush(&mut bulk).await
}

async fn notifications(s: &mut Seeding, size: Size, people: &[People]) -> Result<(), DbError> {
    let mut bulk =
        Bulk::new("INSERT INTO notifications (id, tenant_id, user_id, kind, text, is_read, created_at)");
    let mut rng = Rng::new("notifications");
    for i in 0..size.notifications {
        let of = of(people, i);
        let created = s.now - rng.below(30 * DAY);
        let (kind, what) = *rng.pick(KINDS);
        let user = if i % 20 == 0 { &of.users[0] } else { rng.pick(&of.users) };
        let row = [
            rng.id(created).to_string().into(),
            of.tenant.into(),
            user.clone().into(),
            kind.into(),
            format!("{} {what}", rng.pick(super::words::GIVEN)).into(),
            i64::from(rng.below(3) > 0).into(),
            created.into(),
        ];
        s.push(&mut bulk, row).await?;
    }
    s.flush(&mut bulk).await
}
