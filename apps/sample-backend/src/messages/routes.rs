//! `/api/v1/conversations/{id}/messages`

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use larder::{Event, Key, Selector, key, prefix};
use larder_http::{Conditions, Json, Page, PageParams, PathId, Problem, Query, respond};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::kept::Kept;
use super::model::{Message, NewMessage};
use super::sql::{self, Sent};
use crate::app::App;
use crate::auth::User;
use crate::cached::render;
use crate::ttl::Endpoint;
use crate::users::People;
use crate::write::Write;
use crate::{conversations, notifications};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, send))
}

fn list_key(conversation: Uuid, page: PageParams) -> Key {
    key!("messages", conversation, "page", page.page, "limit", page.limit)
}

/// What shows a message: its conversation, the lists of conversations of all who take part, and the notifications of
/// those who were told.
fn shown_in(sent: &Sent) -> Vec<Selector> {
    std::iter::once(prefix!("messages", sent.message.conversation_id))
        .chain(conversations::lists_of(&sent.members))
        .chain(notifications::lists_of(&sent.notified))
        .collect()
}

/// Lists the messages of one of the caller's conversations, newest first.
#[utoipa::path(
    get, path = "/api/v1/conversations/{id}/messages", tag = "feed", operation_id = "list_messages",
    params(("id" = Uuid, Path, description = "The conversation"), PageParams), security(("bearer" = [])),
    responses((status = 200, body = Page<Message>))
)]
async fn list(
    State(app): State<App>,
    user: User,
    PathId(id): PathId,
    Query(page): Query<PageParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let (db, tenant) = (app.db.clone(), user.tenant.clone());
    let load = move || async move {
        let members = conversations::members(&db, &tenant, id).await?;
        if members.is_empty() {
            return Ok(None);
        }
        Ok(Some(Kept::new(members, render(&sql::list(&db, &tenant, id, page).await?)?)))
    };
    let (cache, audience) = user.scope();
    let policy = app.policy(Endpoint::Messages);
    let (kept, status) = cache.fetch_opt::<Kept, _, _, Problem>(list_key(id, page), policy, load).await?;
    let kept = kept.ok_or_else(Problem::not_found)?;
    let page = kept.page_for(user.id).ok_or_else(Problem::not_found)?;
    Ok(respond::cached(audience, &conditions, page, &status))
}

/// Sends a message in one of the caller's conversations; the others are notified.
#[utoipa::path(
    post, path = "/api/v1/conversations/{id}/messages", tag = "feed", operation_id = "send_message",
    params(("id" = Uuid, Path, description = "The conversation")), request_body = NewMessage,
    security(("bearer" = [])), responses((status = 201, body = Message))
)]
async fn send(
    State(app): State<App>,
    user: User,
    PathId(id): PathId,
    Json(new): Json<NewMessage>,
) -> Result<Response, Problem> {
    user.may_write()?;
    let sender = People::fetch(&app, &user, [user.id]).await?.caller(&user)?;
    let on = app.clone();
    let message = app
        .write(async move {
            let mut write = on.begin(&user.cache).await?;
            let sent = sql::send(write.tx(), &user.tenant, id, &sender, new.body).await?;
            let sent = sent.ok_or_else(Problem::not_found)?;
            emit(&mut write, &sent).await?;
            write.commit().await?;
            Ok(sent.message)
        })
        .await?;
    Ok((StatusCode::CREATED, axum::Json(message)).into_response())
}

/// One event for the message, with all that it invalidates, then one for each notification.
///
/// The whole tenant hears them, so they say nothing that belongs to the members: no text, and no user.
async fn emit(write: &mut Write, sent: &Sent) -> Result<(), Problem> {
    let (id, conversation) = (sent.message.id, sent.message.conversation_id);
    let data = serde_json::json!({ "id": id, "conversation_id": conversation });
    let message = Event::new("message.created").id(id.to_string()).data(data).invalidates(shown_in(sent));
    let notification = |id: &Uuid| {
        Event::new("notification.created").id(id.to_string()).data(serde_json::json!({ "id": id }))
    };
    let all: Vec<Event> =
        std::iter::once(message).chain(sent.notifications.iter().map(notification)).collect();
    write.emit_all(all).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_list_is_that_of_the_contract() {
        let (page, id) = (PageParams { page: 1, limit: 20 }, Uuid::nil());
        assert_eq!(list_key(id, page).render("acme"), format!("messages:acme:{id}:page:1:limit:20"));
    }
}
