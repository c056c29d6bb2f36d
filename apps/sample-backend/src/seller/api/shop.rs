//! Products and what follows from them alone, and the two changes that there are.

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::db::{Db, DbError, Tx};
use crate::row::{number, text};
use crate::time::Time;

/// From here down a product should be ordered again.
const LOW_STOCK: i64 = 20;

fn product(row: &AnyRow) -> Result<Value, sqlx::Error> {
    Ok(json!({
        "id": text(row, 0)?,
        "name": text(row, 1)?,
        "category": text(row, 2)?,
        "price_cents": number(row, 3)?,
        "stock": number(row, 4)?,
        "rating": row.try_get::<f64, _>(5)?,
        "reviews": number(row, 6)?,
        "updated_at": Time::of(row, 7)?,
    }))
}

pub(super) async fn products(db: &Db, tenant: &str) -> Result<Value, DbError> {
    let products = sqlx::query(
        "SELECT id, name, category, price_cents, stock, rating, reviews, updated_at FROM seller_products \
         WHERE tenant_id = $1 ORDER BY id DESC",
    )
    .bind(tenant)
    .try_map(|row: AnyRow| product(&row))
    .fetch_all(db.read())
    .await?;
    Ok(Value::Array(products))
}

pub(super) async fn alerts(db: &Db, tenant: &str) -> Result<Value, DbError> {
    let alerts = sqlx::query(
        "SELECT id, name, stock FROM seller_products WHERE tenant_id = $1 AND stock < $2 ORDER BY stock, id",
    )
    .bind(tenant)
    .bind(LOW_STOCK)
    .try_map(|row: AnyRow| {
        let (name, stock) = (text(&row, 1)?, number(&row, 2)?);
        Ok(json!({
            "product_id": text(&row, 0)?,
            "kind": if stock == 0 { "out_of_stock" } else { "low_stock" },
            "text": format!("{name}: {stock} left"),
        }))
    })
    .fetch_all(db.read())
    .await?;
    Ok(Value::Array(alerts))
}

/// Products that cost much more or less than their category does on average.
pub(super) async fn insights(db: &Db, tenant: &str) -> Result<Value, DbError> {
    let insights = sqlx::query(
        "SELECT p.id, p.name, p.category, p.price_cents, c.average FROM seller_products p \
         JOIN (SELECT category, CAST(AVG(price_cents) AS BIGINT) AS average FROM seller_products \
             WHERE tenant_id = $1 GROUP BY category) c ON c.category = p.category \
         WHERE p.tenant_id = $1 AND (p.price_cents > c.average * 3 / 2 OR p.price_cents < c.average / 2) \
         ORDER BY p.id DESC LIMIT 20",
    )
    .bind(tenant)
    .try_map(|row: AnyRow| {
        let (price, average) = (number(&row, 3)?, number(&row, 4)?);
        let side = if price > average { "above" } else { "below" };
        let (name, category) = (text(&row, 1)?, text(&row, 2)?);
        Ok(json!({
            "product_id": text(&row, 0)?,
            "kind": format!("price_{side}_category"),
            "text": format!("{name} is far {side} the average of {category}"),
            "price_cents": price,
            "category_average_cents": average,
        }))
    })
    .fetch_all(db.read())
    .await?;
    Ok(Value::Array(insights))
}

pub(super) async fn pricing(db: &Db, tenant: &str) -> Result<Value, DbError> {
    let categories = sqlx::query(
        "SELECT category, COUNT(*), CAST(AVG(price_cents) AS BIGINT), MIN(price_cents), MAX(price_cents) \
         FROM seller_products WHERE tenant_id = $1 GROUP BY category ORDER BY category",
    )
    .bind(tenant)
    .try_map(|row: AnyRow| {
        Ok(json!({
            "category": text(&row, 0)?,
            "products": number(&row, 1)?,
            "average_cents": number(&row, 2)?,
            "lowest_cents": number(&row, 3)?,
            "highest_cents": number(&row, 4)?,
        }))
    })
    .fetch_all(db.read())
    .await?;
    Ok(json!({ "categories": categories }))
}

pub(super) async fn sentiment(db: &Db, tenant: &str) -> Result<Value, DbError> {
    let overview = sqlx::query(
        "SELECT COUNT(*), CAST(COALESCE(AVG(rating), 0) AS DOUBLE PRECISION), \
         CAST(COALESCE(SUM(reviews), 0) AS BIGINT), \
         CAST(COALESCE(SUM(CASE WHEN rating >= 4 THEN 1 ELSE 0 END), 0) AS BIGINT), \
         CAST(COALESCE(SUM(CASE WHEN rating < 3 THEN 1 ELSE 0 END), 0) AS BIGINT) \
         FROM seller_products WHERE tenant_id = $1",
    )
    .bind(tenant)
    .try_map(|row: AnyRow| {
        let (products, liked, disliked) = (number(&row, 0)?, number(&row, 3)?, number(&row, 4)?);
        Ok(json!({
            "average_rating": (row.try_get::<f64, _>(1)? * 100.0).round() / 100.0,
            "reviews": number(&row, 2)?,
            "positive": liked,
            "neutral": products - liked - disliked,
            "negative": disliked,
        }))
    })
    .fetch_one(db.read())
    .await?;
    Ok(overview)
}

/// The product as it is now; `None` where the tenant has none such.
pub(super) async fn set_price(db: &Db, tenant: &str, id: Uuid, cents: i64) -> Result<Option<Value>, DbError> {
    let mut tx = db.begin().await?;
    let now = sqlx::query(
        "UPDATE seller_products SET price_cents = $3, updated_at = $4 WHERE id = $1 AND tenant_id = $2 \
         RETURNING id, name, category, price_cents, stock, rating, reviews, updated_at",
    )
    .bind(id.to_string())
    .bind(tenant)
    .bind(cents)
    .bind(Time::now().0)
    .try_map(|row: AnyRow| product(&row))
    .fetch_optional(tx.conn())
    .await?;
    if let Some(product) = &now {
        let text = format!("{} costs {} cents now", product["name"].as_str().unwrap_or_default(), cents);
        note(&mut tx, tenant, "price", text, id).await?;
        tx.commit().await?;
    }
    Ok(now)
}

/// The order; `None` where the tenant has no such product.
pub(super) async fn order(db: &Db, tenant: &str, id: Uuid, quantity: i64) -> Result<Option<Value>, DbError> {
    let mut tx = db.begin().await?;
    let product =
        sqlx::query("SELECT name, price_cents FROM seller_products WHERE id = $1 AND tenant_id = $2")
            .bind(id.to_string())
            .bind(tenant)
            .fetch_optional(tx.conn())
            .await?;
    let Some(product) = product else { return Ok(None) };
    let (name, price) = (text(&product, 0)?, number(&product, 1)?);
    let (order, now, total) = (Uuid::now_v7(), Time::now(), price.saturating_mul(quantity));
    sqlx::query(
        "INSERT INTO seller_orders (id, tenant_id, product_id, quantity, total_cents, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(order.to_string())
    .bind(tenant)
    .bind(id.to_string())
    .bind(quantity)
    .bind(total)
    .bind(now.0)
    .execute(tx.conn())
    .await?;
    note(&mut tx, tenant, "order", format!("{quantity} × {name} sold"), id).await?;
    tx.commit().await?;
    Ok(Some(json!({
        "id": order, "product_id": id, "quantity": quantity, "total_cents": total, "created_at": now,
    })))
}

async fn note(tx: &mut Tx, tenant: &str, kind: &str, text: String, product: Uuid) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO seller_activity (id, tenant_id, kind, text, product_id, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(Uuid::now_v7().to_string())
    .bind(tenant)
    .bind(kind)
    .bind(text)
    .bind(product.to_string())
    .bind(Time::now().0)
    .execute(tx.conn())
    .await?;
    Ok(())
}
