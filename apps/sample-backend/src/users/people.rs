//! Many users at once: one multi-get of the cache, and one statement for all that it has not.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use larder::{Fetched, Key, key};
use larder_http::Problem;
use uuid::Uuid;

use super::model::{Known, Person};
use super::sql;
use crate::app::App;
use crate::auth::User;
use crate::named::Named;
use crate::ttl::Endpoint;

/// The users that one page names.
#[derive(Debug)]
pub(crate) struct People(HashMap<Uuid, Arc<Known>>);

impl People {
    /// Fetches these users of the caller's tenant, each once.
    ///
    /// # Errors
    /// The problem that the load ended with.
    pub(crate) async fn fetch(
        app: &App,
        caller: &User,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> Result<Self, Problem> {
        let ids: Vec<Uuid> = ids.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let keys = ids.iter().copied().map(key_of).collect();
        let (db, tenant) = (app.db.clone(), caller.tenant.clone());
        let load = move |missing: Vec<Key>| {
            let (db, tenant) = (db.clone(), tenant.clone());
            async move {
                let wanted: Vec<Uuid> = missing.iter().filter_map(id_of).collect();
                let found = sql::many(&db, &tenant, &wanted).await?;
                found.into_iter().map(|person| Ok((key_of(person.id), known(person)?))).collect()
            }
        };
        let policy = app.policy(Endpoint::Users);
        let found = caller.cache.get_or_load_many::<Known, _, _, Problem>(keys, policy, load).await?;
        let present = |(id, found): (Uuid, Option<Fetched<Known>>)| Some((id, found?.value));
        Ok(Self(ids.into_iter().zip(found).filter_map(present).collect()))
    }

    /// Whether the tenant has this user.
    pub(crate) fn has(&self, id: Uuid) -> bool {
        self.0.contains_key(&id)
    }

    /// The caller, who is one of them.
    ///
    /// # Errors
    /// 401 where the token outlived its user.
    pub(crate) fn caller(&self, caller: &User) -> Result<Named, Problem> {
        let known = self.0.get(&caller.id).ok_or_else(Problem::unauthorized)?;
        Ok(Named { id: caller.id, name: known.person.name.clone() })
    }

    /// One of them, to whom a row refers.
    ///
    /// # Errors
    /// 500 where the tenant has no such user, though a row of the tenant refers to them.
    pub(crate) fn named(&self, id: Uuid) -> Result<Named, Problem> {
        match self.0.get(&id) {
            Some(known) => Ok(Named { id, name: known.person.name.clone() }),
            None => {
                tracing::error!(user = %id, "a row refers to a user that its tenant has not");
                Err(Problem::internal())
            }
        }
    }
}

pub(super) fn key_of(id: Uuid) -> Key {
    key!("users", id)
}

pub(super) fn known(person: Person) -> Result<Known, Problem> {
    Known::new(person).map_err(|error| {
        tracing::error!(%error, "a user can't be rendered");
        Problem::internal()
    })
}

fn id_of(key: &Key) -> Option<Uuid> {
    Uuid::try_parse(key.as_str().strip_prefix("users:")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_user_leads_back_to_the_user() {
        let id = Uuid::now_v7();
        assert_eq!(id_of(&key_of(id)), Some(id));
        assert_eq!(key_of(id).render("acme"), format!("users:acme:{id}"));
        assert_eq!(id_of(&key!("posts", id)), None);
    }
}
