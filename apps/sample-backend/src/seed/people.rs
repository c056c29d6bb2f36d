//! Tenants and users.

use super::rng::Rng;
use super::words::{FAMILY, GIVEN, HEADLINES};
use super::{SAMPLE_LOGINS, Seeding, Size};
use crate::auth::NO_PASSWORD;
use crate::db::{Bulk, DbError};
use crate::time::DAY;

/// The tenants that have customers' data; the third, `larder`, is the operator.
pub(super) const TENANTS: &[(&str, &str)] = &[("acme", "Acme"), ("globex", "Globex")];

/// The users of one tenant.
pub(super) struct People {
    pub(super) tenant: &'static str,
    /// Ids; the first is the owner.
    pub(super) users: Vec<String>,
}

pub(super) async fn seed(
    s: &mut Seeding,
    size: Size,
    password: Option<String>,
) -> Result<Vec<People>, DbError> {
    let password = password.unwrap_or_else(|| NO_PASSWORD.to_owned());
    let mut tenants = Bulk::new("INSERT INTO tenants (id, name, created_at)");
    for (id, name) in TENANTS.iter().chain(&[("larder", "Larder")]) {
        tenants.push(&mut s.tx, [(*id).into(), (*name).into(), (s.now - 400 * DAY).into()]).await?;
    }
    s.flush(&mut tenants).await?;

    let mut bulk = Bulk::new(
        "INSERT INTO users (id, tenant_id, email, name, role, password_hash, headline, bio, created_at)",
    );
    let mut rng = Rng::new("users");
    let mut people: Vec<_> =
        TENANTS.iter().map(|&(tenant, _)| People { tenant, users: Vec::new() }).collect();
    for (email, tenant, role) in SAMPLE_LOGINS {
        let joined = s.now - 399 * DAY;
        let id = rng.id(joined).to_string();
        if let Some(of) = people.iter_mut().find(|p| p.tenant == *tenant) {
            of.users.push(id.clone());
        }
        let name = format!("{} {}", rng.pick(GIVEN), rng.pick(FAMILY));
        let row = [
            id.into(),
            (*tenant).into(),
            (*email).into(),
            name.into(),
            (*role).into(),
            password.clone().into(),
            "Sample login".into(),
            "".into(),
            joined.into(),
        ];
        s.push(&mut bulk, row).await?;
    }
    for i in 0..size.users {
        let of = usize::from(i % 5 > 2);
        let joined = s.now - rng.between(1, 380) * DAY - rng.below(DAY);
        let id = rng.id(joined).to_string();
        let (given, family) = (*rng.pick(GIVEN), *rng.pick(FAMILY));
        let headline = *rng.pick(HEADLINES);
        let row = [
            id.clone().into(),
            people[of].tenant.into(),
            format!("user{i}@{}.test", people[of].tenant).into(),
            format!("{given} {family}").into(),
            "member".into(),
            password.clone().into(),
            headline.into(),
            format!("{headline}, {} years in the trade.", rng.between(1, 30)).into(),
            joined.into(),
        ];
        people[of].users.push(id);
        s.push(&mut bulk, row).await?;
    }
    s.flush(&mut bulk).await?;
    Ok(people)
}
