//! `/api/v1/categories` and `/api/v1/locations`: the words that a tenant sorts its jobs by.

use axum::extract::State;
use axum::response::Response;
use larder::{Key, key};
use larder_http::{Conditions, Page, PageParams, Problem, Query};
use sqlx::Row;
use sqlx::any::AnyRow;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::User;
use crate::cached::cached;
use crate::db::{Db, DbError};
use crate::named::Named;
use crate::ttl::Endpoint;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(categories)).routes(routes!(locations))
}

/// Which words, with the two statements that list them.
struct Words {
    endpoint: Endpoint,
    count: &'static str,
    list: &'static str,
}

const CATEGORIES: Words = Words {
    endpoint: Endpoint::Categories,
    count: "SELECT COUNT(*) FROM categories WHERE tenant_id = $1",
    list: "SELECT id, name FROM categories WHERE tenant_id = $1 ORDER BY name LIMIT $2 OFFSET $3",
};

const LOCATIONS: Words = Words {
    endpoint: Endpoint::Locations,
    count: "SELECT COUNT(*) FROM locations WHERE tenant_id = $1",
    list: "SELECT id, name FROM locations WHERE tenant_id = $1 ORDER BY name LIMIT $2 OFFSET $3",
};

/// The first page, which is all of most tenants' words, is the entry that people know: `categories:acme`.
fn list_key(endpoint: Endpoint, page: PageParams) -> Key {
    let key = key!(endpoint.name());
    match page {
        PageParams { page: 1, limit: 20 } => key,
        PageParams { page, limit } => key.with("page").with(page).with("limit").with(limit),
    }
}

/// Lists the categories of jobs, by name.
#[utoipa::path(
    get, path = "/api/v1/categories", tag = "feed", operation_id = "list_categories",
    params(PageParams), security(("bearer" = [])),
    responses((status = 200, body = Page<Named>))
)]
async fn categories(
    app: State<App>,
    user: User,
    Query(page): Query<PageParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    show(app, &user, &CATEGORIES, page, &conditions).await
}

/// Lists the places of jobs, by name.
#[utoipa::path(
    get, path = "/api/v1/locations", tag = "feed", operation_id = "list_locations",
    params(PageParams), security(("bearer" = [])),
    responses((status = 200, body = Page<Named>))
)]
async fn locations(
    app: State<App>,
    user: User,
    Query(page): Query<PageParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    show(app, &user, &LOCATIONS, page, &conditions).await
}

async fn show(
    State(app): State<App>,
    user: &User,
    words: &'static Words,
    page: PageParams,
    conditions: &Conditions,
) -> Result<Response, Problem> {
    let (db, tenant) = (app.db.clone(), user.tenant.clone());
    let load = move || async move { Ok(list(&db, &tenant, words, page).await?) };
    cached(user.scope(), list_key(words.endpoint, page), app.policy(words.endpoint), conditions, load).await
}

async fn list(db: &Db, tenant: &str, words: &Words, page: PageParams) -> Result<Page<Named>, DbError> {
    let total = sqlx::query(words.count).bind(tenant).fetch_one(db.read()).await?.try_get(0)?;
    let items = sqlx::query(words.list)
        .bind(tenant)
        .bind(page.limit)
        .bind(page.offset())
        .try_map(|row: AnyRow| Named::of(&row))
        .fetch_all(db.read())
        .await?;
    Ok(page.of(items, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_page_has_the_key_of_the_contract_and_others_their_own() {
        let key = |page, limit| list_key(Endpoint::Categories, PageParams { page, limit }).render("acme");
        assert_eq!(key(1, 20), "categories:acme");
        assert_eq!(key(2, 20), "categories:acme:page:2:limit:20");
        assert_ne!(key(1, 5), key(1, 20));
    }
}
