//! How often the users of a tenant may do something: each by itself, and all together.

use std::time::{Duration, Instant};

use crate::claims::Claims;
use crate::rate::Each;

/// A bound on what costs more than the connection it comes by.
#[derive(Debug)]
pub(crate) struct Quota {
    users: Each<String>,
    tenants: Each<String>,
}

/// So many at once, and so many a second.
pub(crate) type Rate = (u32, u32);

impl Quota {
    pub(crate) fn new(user: Rate, tenant: Rate) -> Self {
        let now = Instant::now();
        Self { users: Each::full(user.0, user.1, now), tenants: Each::full(tenant.0, tenant.1, now) }
    }

    /// Takes one for whose claims these are; or says after how long there will be one.
    pub(crate) fn take(&self, claims: &Claims) -> Result<(), Duration> {
        let now = Instant::now();
        self.users.take(name(&claims.tenant, &claims.user), now)?;
        self.tenants.take(claims.tenant.clone(), now)
    }
}

/// A user among those of all tenants. A user's name has no space, so two pairs never look the same.
pub(crate) fn name(tenant: &str, user: &str) -> String {
    format!("{tenant} {user}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_takes_nothing_from_another_and_a_tenant_nothing_from_another() {
        let quota = Quota::new((2, 1), (5, 1));
        let take = |tenant: &str, user: &str| quota.take(&Claims::new(tenant, user, 0)).is_ok();
        assert!(take("acme", "1") && take("acme", "1") && !take("acme", "1"));
        assert!(take("acme", "2") && take("acme", "2") && !take("acme", "2"));
        assert!(take("acme", "3") && !take("acme", "4"), "the tenant has had five");
        assert!(take("globex", "1"), "another user of the same name");
    }
}
