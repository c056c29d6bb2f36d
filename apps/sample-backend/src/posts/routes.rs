//! `/api/v1/posts` and `/api/v1/users/{id}/posts`

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use larder::{Event, Key, Selector, key, prefix};
use larder_http::{Conditions, Json, Page, PageParams, PathId, Problem, Query};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::model::{NewPost, Post};
use super::sql::{self, Stored};
use crate::app::App;
use crate::auth::User;
use crate::cached::{cached, cached_opt};
use crate::time::Time;
use crate::ttl::Endpoint;
use crate::users::People;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(by_author))
}

fn list_key(page: PageParams) -> Key {
    key!("posts", "page", page.page, "limit", page.limit)
}

fn author_key(author: Uuid, page: PageParams) -> Key {
    key!("posts_user", author, "page", page.page, "limit", page.limit)
}

/// What shows a post: the feed, its author's posts, and their number in the author's profile.
fn shown_in(author: Uuid) -> [Selector; 3] {
    [prefix!("posts"), prefix!("posts_user", author), key!("user_profile", author).into()]
}

/// Lists all posts of the tenant, newest first.
#[utoipa::path(
    get, path = "/api/v1/posts", tag = "feed", operation_id = "list_posts",
    params(PageParams), security(("bearer" = [])),
    responses((status = 200, body = Page<Post>))
)]
async fn list(
    State(app): State<App>,
    user: User,
    Query(page): Query<PageParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let (of, by) = (app.clone(), user.clone());
    let load = move || async move {
        let (posts, total) = sql::feed(&of.db, &by.tenant, page).await?;
        Ok(page.of(with_authors(&of, &by, posts).await?, total))
    };
    cached(user.scope(), list_key(page), app.policy(Endpoint::Posts), &conditions, load).await
}

/// Lists what one user wrote, newest first.
#[utoipa::path(
    get, path = "/api/v1/users/{id}/posts", tag = "feed", operation_id = "list_user_posts",
    params(("id" = Uuid, Path, description = "The user"), PageParams), security(("bearer" = [])),
    responses((status = 200, body = Page<Post>))
)]
async fn by_author(
    State(app): State<App>,
    user: User,
    PathId(id): PathId,
    Query(page): Query<PageParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let (of, by) = (app.clone(), user.clone());
    let load = move || async move {
        let Some((posts, total)) = sql::by_author(&of.db, &by.tenant, id, page).await? else {
            return Ok(None);
        };
        Ok(Some(page.of(with_authors(&of, &by, posts).await?, total)))
    };
    cached_opt(user.scope(), author_key(id, page), app.policy(Endpoint::PostsUser), &conditions, load).await
}

/// Writes a post.
#[utoipa::path(
    post, path = "/api/v1/posts", tag = "feed", operation_id = "create_post",
    request_body = NewPost, security(("bearer" = [])),
    responses((status = 201, body = Post))
)]
async fn create(State(app): State<App>, user: User, Json(new): Json<NewPost>) -> Result<Response, Problem> {
    user.may_write()?;
    // Before the write: what can fail must not fail after the commit.
    let author = People::fetch(&app, &user, [user.id]).await?.caller(&user)?;
    let on = app.clone();
    let made = app
        .write(async move {
            let mut write = on.begin(&user.cache).await?;
            let post =
                Stored { id: Uuid::now_v7(), author: user.id, body: new.body, created_at: Time::now() };
            if !sql::create(write.tx(), &user.tenant, &post).await? {
                return Err(Problem::unauthorized());
            }
            let data = serde_json::json!({ "id": post.id, "author_id": user.id });
            let event = Event::new("post.created").id(post.id.to_string()).data(data);
            write.emit(event.invalidates(shown_in(user.id))).await?;
            write.commit().await?;
            Ok(Post { id: post.id, author, body: post.body, created_at: post.created_at })
        })
        .await?;
    Ok((StatusCode::CREATED, axum::Json(made)).into_response())
}

/// Puts names to the authors of a page.
async fn with_authors(app: &App, user: &User, posts: Vec<Stored>) -> Result<Vec<Post>, Problem> {
    let authors = People::fetch(app, user, posts.iter().map(|post| post.author)).await?;
    let post = |Stored { id, author, body, created_at }| {
        Ok(Post { id, author: authors.named(author)?, body, created_at })
    };
    posts.into_iter().map(post).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_contract() {
        let (page, id) = (PageParams { page: 1, limit: 20 }, Uuid::nil());
        assert_eq!(list_key(page).render("acme"), "posts:acme:page:1:limit:20");
        assert_eq!(author_key(id, page).render("acme"), format!("posts_user:acme:{id}:page:1:limit:20"));
    }
}
