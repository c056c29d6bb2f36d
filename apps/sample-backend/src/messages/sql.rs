//! The questions that messages ask the database.

use larder_http::{Page, PageParams};
use sqlx::any::AnyRow;
use sqlx::{Error, Row};
use uuid::Uuid;

use super::model::Message;
use crate::db::{Db, DbError, Tx};
use crate::named::Named;
use crate::time::Time;
use crate::{conversations, notifications, row};

fn message(row: &AnyRow) -> Result<Message, Error> {
    Ok(Message {
        id: row::id(row, 0)?,
        conversation_id: row::id(row, 1)?,
        sender_id: row::id(row, 2)?,
        body: row::text(row, 3)?,
        created_at: Time::of(row, 4)?,
    })
}

/// One page of a conversation, newest first.
pub(super) async fn list(
    db: &Db,
    tenant: &str,
    conversation: Uuid,
    page: PageParams,
) -> Result<Page<Message>, DbError> {
    let total = sqlx::query("SELECT COUNT(*) FROM messages WHERE conversation_id = $1 AND tenant_id = $2")
        .bind(conversation.to_string())
        .bind(tenant)
        .fetch_one(db.read())
        .await?
        .try_get(0)?;
    let items = sqlx::query(
        "SELECT id, conversation_id, sender_id, body, created_at FROM messages \
         WHERE conversation_id = $1 AND tenant_id = $2 ORDER BY id DESC LIMIT $3 OFFSET $4",
    )
    .bind(conversation.to_string())
    .bind(tenant)
    .bind(page.limit)
    .bind(page.offset())
    .try_map(|row: AnyRow| message(&row))
    .fetch_all(db.read())
    .await?;
    Ok(page.of(items, total))
}

/// A message that was sent.
pub(super) struct Sent {
    pub(super) message: Message,
    /// All who take part in the conversation.
    pub(super) members: Vec<Uuid>,
    /// Those who were notified: all but the sender.
    pub(super) notified: Vec<Uuid>,
    /// The notifications.
    pub(super) notifications: Vec<Uuid>,
}

/// Sends a message and notifies the others; `None` where the sender takes part in no such conversation.
pub(super) async fn send(
    tx: &mut Tx,
    tenant: &str,
    conversation: Uuid,
    sender: &Named,
    body: String,
) -> Result<Option<Sent>, DbError> {
    let members = conversations::hold(tx, tenant, conversation).await?;
    if !members.contains(&sender.id) {
        return Ok(None);
    }
    let (id, created_at) = (Uuid::now_v7(), Time::now());
    let message = Message { id, conversation_id: conversation, sender_id: sender.id, body, created_at };
    sqlx::query(
        "INSERT INTO messages (id, tenant_id, conversation_id, sender_id, body, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(message.id.to_string())
    .bind(tenant)
    .bind(conversation.to_string())
    .bind(sender.id.to_string())
    .bind(message.body.clone())
    .bind(message.created_at.0)
    .execute(tx.conn())
    .await?;
    conversations::spoken(tx, conversation, &message.body, created_at).await?;
    let notified: Vec<Uuid> = members.iter().copied().filter(|member| *member != sender.id).collect();
    let text = format!("{} sent you a message", sender.name);
    let notifications = notifications::create(tx, tenant, &notified, "message", &text).await?;
    Ok(Some(Sent { message, members, notified, notifications }))
}
