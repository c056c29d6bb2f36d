//! What the built-in seller-data API sells.

use super::people::TENANTS;
use super::rng::Rng;
use super::words::{MAKES, PRODUCTS, SHELVES};
use super::{Seeding, Size};
use crate::db::{Bulk, DbError};
use crate::time::DAY;

pub(super) async fn seed(s: &mut Seeding, size: Size) -> Result<(), DbError> {
    let mut rng = Rng::new("seller");
    let products = products(s, &mut rng, size).await?;
    orders(s, &mut rng, size, &products).await
}

struct Product {
    tenant: &'static str,
    id: String,
    name: String,
    price_cents: i64,
}

async fn products(s: &mut Seeding, rng: &mut Rng, size: Size) -> Result<Vec<Product>, DbError> {
    let mut bulk = Bulk::new(
        "INSERT INTO seller_products (id, tenant_id, name, category, price_cents, stock, rating, reviews, updated_at)",
    );
    let mut made = Vec::new();
    for i in 0..size.products {
        let (tenant, _) = TENANTS[usize::from(i % 2 == 1)];
        let created = s.now - rng.between(100, 360) * DAY;
        let product = Product {
            tenant,
            id: rng.id(created).to_string(),
            name: format!("{} {} {}", rng.pick(PRODUCTS), rng.pick(MAKES), i / 2 + 1),
            price_cents: rng.between(5, 250) * 100 - 1,
        };
        let rating = f64::from(i32::try_from(rng.between(20, 50)).unwrap_or(40)) / 10.0;
        let row = [
            product.id.clone().into(),
            tenant.into(),
            product.name.clone().into(),
            (*rng.pick(SHELVES)).into(),
            product.price_cents.into(),
            rng.between(0, 500).into(),
            rating.into(),
            rng.between(3, 900).into(),
            created.into(),
        ];
        made.push(product);
        s.push(&mut bulk, row).await?;
    }
    s.flush(&mut bulk).await?;
    Ok(made)
}

async fn orders(s: &mut Seeding, rng: &mut Rng, size: Size, products: &[Product]) -> Result<(), DbError> {
    let mut orders =
        Bulk::new("INSERT INTO seller_orders (id, tenant_id, product_id, quantity, total_cents, created_at)");
    let mut activity =
        Bulk::new("INSERT INTO seller_activity (id, tenant_id, kind, text, product_id, created_at)");
    for i in 0..size.orders {
        let product = rng.pick_skewed(products);
        let (created, quantity) = (s.now - rng.below(90 * DAY), rng.between(1, 5));
        let row = [
            rng.id(created).to_string().into(),
            product.tenant.into(),
            product.id.clone().into(),
            quantity.into(),
            (quantity * product.price_cents).into(),
            created.into(),
        ];
        s.push(&mut orders, row).await?;
        if i % 10 == 0 {
            let row = [
                rng.id(created).to_string().into(),
                product.tenant.into(),
                "order".into(),
                format!("{quantity} × {} sold", product.name).into(),
                product.id.clone().into(),
                created.into(),
            ];
            activity.push(&mut s.tx, row).await?;
        }
    }
    // The orders first: nothing refers to activity.
    s.flush(&mut orders).await?;
    s.flush(&mut activity).await
}
