//! `/api/v1/conversations`

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use larder::{Event, Key, Selector, key, prefix};
use larder_http::{Conditions, Errors, Json, Page, PageParams, Problem, Query};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::model::{Conversation, NewConversation};
use super::sql::{self, Stored};
use crate::app::App;
use crate::auth::User;
use crate::cached::cached;
use crate::ttl::Endpoint;
use crate::users::People;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create))
}

fn list_key(user: Uuid, page: PageParams) -> Key {
    key!("conversations", user, "page", page.page, "limit", page.limit)
}

/// What shows a conversation: the lists of all who take part.
pub(crate) fn lists_of(members: &[Uuid]) -> impl Iterator<Item = Selector> {
    members.iter().map(|member| prefix!("conversations", member))
}

/// Lists the caller's conversations, the one that was spoken in last first.
#[utoipa::path(
    get, path = "/api/v1/conversations", tag = "feed", operation_id = "list_conversations",
    params(PageParams), security(("bearer" = [])),
    responses((status = 200, body = Page<Conversation>))
)]
async fn list(
    State(app): State<App>,
    user: User,
    Query(page): Query<PageParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let (of, by) = (app.clone(), user.clone());
    let load = move || async move {
        let (talks, total) = sql::list(&of.db, &by.tenant, by.id, page).await?;
        let people =
            People::fetch(&of, &by, talks.iter().flat_map(|talk| talk.members.iter().copied())).await?;
        let items = talks.into_iter().map(|talk| conversation(talk, &people));
        Ok(page.of(items.collect::<Result<_, Problem>>()?, total))
    };
    cached(user.scope(), list_key(user.id, page), app.policy(Endpoint::Conversations), &conditions, load)
        .await
}

/// Starts a conversation.
#[utoipa::path(
    post, path = "/api/v1/conversations", tag = "feed", operation_id = "create_conversation",
    request_body = NewConversation, security(("bearer" = [])),
    responses((status = 201, body = Conversation))
)]
async fn create(
    State(app): State<App>,
    user: User,
    Json(new): Json<NewConversation>,
) -> Result<Response, Problem> {
    user.may_write()?;
    let everybody: BTreeSet<Uuid> = new.participant_ids.iter().copied().chain([user.id]).collect();
    let people = People::fetch(&app, &user, everybody.iter().copied()).await?;
    people.caller(&user)?;
    check(&new, user.id, &people)?;
    let on = app.clone();
    let made = app
        .write(async move {
            let mut write = on.begin(&user.cache).await?;
            let made = sql::create(write.tx(), &user.tenant, everybody.into_iter().collect()).await?;
            // The whole tenant hears of it, so no more than an id: who talks with whom is theirs to know.
            let data = serde_json::json!({ "id": made.id });
            let event = Event::new("conversation.created").id(made.id.to_string()).data(data);
            write.emit(event.invalidates(lists_of(&made.members))).await?;
            write.commit().await?;
            conversation(made, &people)
        })
        .await?;
    Ok((StatusCode::CREATED, axum::Json(made)).into_response())
}

/// Somebody else must take part, and everybody must be of the caller's tenant: whoever is not does not exist for it.
fn check(new: &NewConversation, caller: Uuid, people: &People) -> Result<(), Problem> {
    let mut errors = Errors::default();
    if new.participant_ids.iter().all(|id| *id == caller) {
        errors.add("participant_ids", "must name somebody else than you");
    }
    for (index, id) in new.participant_ids.iter().enumerate() {
        if !people.has(*id) {
            errors.add(NewConversation::field(index), "must be a user");
        }
    }
    errors.finish(Some(()))
}

fn conversation(talk: Stored, people: &People) -> Result<Conversation, Problem> {
    let participants = talk.members.iter().map(|member| people.named(*member)).collect::<Result<_, _>>()?;
    let Stored { id, last_message, updated_at, .. } = talk;
    Ok(Conversation { id, participants, last_message, updated_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_list_is_that_of_the_contract() {
        let (page, id) = (PageParams { page: 1, limit: 20 }, Uuid::nil());
        assert_eq!(list_key(id, page).render("acme"), format!("conversations:acme:{id}:page:1:limit:20"));
    }
}
