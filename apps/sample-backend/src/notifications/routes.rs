//! `/api/v1/notifications`

use axum::extract::State;
use axum::response::Response;
use larder::{Event, Key, Selector, key, prefix};
use larder_http::{Conditions, Page, PageParams, PathId, Problem, Query};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::model::Notification;
use super::sql;
use crate::app::App;
use crate::auth::User;
use crate::cached::cached;
use crate::ttl::Endpoint;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read))
}

fn list_key(user: Uuid, page: PageParams) -> Key {
    key!("notifications", user, "page", page.page, "limit", page.limit)
}

/// What shows the notifications of these users: their lists.
pub(crate) fn lists_of(users: &[Uuid]) -> impl Iterator<Item = Selector> {
    users.iter().map(|user| prefix!("notifications", user))
}

/// Lists the caller's notifications, newest first.
#[utoipa::path(
    get, path = "/api/v1/notifications", tag = "feed", operation_id = "list_notifications",
    params(PageParams), security(("bearer" = [])),
    responses((status = 200, body = Page<Notification>))
)]
async fn list(
    State(app): State<App>,
    user: User,
    Query(page): Query<PageParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let (db, tenant, id) = (app.db.clone(), user.tenant.clone(), user.id);
    let load = move || async move { Ok(sql::list(&db, &tenant, id, page).await?) };
    cached(user.scope(), list_key(id, page), app.policy(Endpoint::Notifications), &conditions, load).await
}

/// Marks one of the caller's notifications as read. Doing so again changes nothing.
#[utoipa::path(
    post, path = "/api/v1/notifications/{id}/read", tag = "feed", operation_id = "read_notification",
    params(("id" = Uuid, Path, description = "The notification")), security(("bearer" = [])),
    responses((status = 200, body = Notification))
)]
async fn read(
    State(app): State<App>,
    user: User,
    PathId(id): PathId,
) -> Result<axum::Json<Notification>, Problem> {
    user.may_write()?;
    let on = app.clone();
    let now = app
        .write(async move {
            let mut write = on.begin(&user.cache).await?;
            let now = sql::read(write.tx(), &user.tenant, user.id, id).await?;
            let now = now.ok_or_else(Problem::not_found)?;
            // Also where it was read before: whoever did that may not have come to the invalidation yet.
            let event =
                Event::new("notification.read").id(id.to_string()).data(serde_json::json!({ "id": id }));
            write.emit(event.invalidates(lists_of(&[user.id]))).await?;
            write.commit().await?;
            Ok(now)
        })
        .await?;
    Ok(axum::Json(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_list_is_that_of_the_contract() {
        let (page, id) = (PageParams { page: 1, limit: 20 }, Uuid::nil());
        assert_eq!(list_key(id, page).render("acme"), format!("notifications:acme:{id}:page:1:limit:20"));
    }
}
