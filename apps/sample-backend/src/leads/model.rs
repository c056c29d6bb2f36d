//! What a lead is.

use larder_http::{Body, Errors, Fields};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::campaigns::MAX_CENTS;
use crate::choice::choice;
use crate::time::Time;

choice! {
    /// How far a lead is.
    pub enum LeadStatus {
        New = "new", Contacted = "contacted", Qualified = "qualified", Converted = "converted", Lost = "lost"
    }
}

/// Somebody whom a campaign has reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Lead {
    /// Their id.
    pub id: Uuid,
    /// The campaign.
    pub campaign_id: Uuid,
    /// Their address.
    pub email: String,
    /// Their name.
    pub name: String,
    /// How far they are.
    pub status: LeadStatus,
    /// What they may be worth, in cents.
    #[schema(minimum = 0)]
    pub value_cents: i64,
    /// When they were reached.
    pub created_at: Time,
}

/// What a client says of a lead.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
pub struct NewLead {
    /// Their address.
    #[schema(max_length = 254, format = "email")]
    pub email: String,
    /// Their name.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// How far they are; `new` unless told.
    #[schema(required = false)]
    pub status: LeadStatus,
    /// What they may be worth, in cents; 0 unless told.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64, required = false)]
    pub value_cents: i64,
}

impl Body for NewLead {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let mut f = Fields::of(value, path, errors)?;
        let (email, name) = (f.email("email"), f.text("name", 1..=200));
        let status = f.choice_or("status", LeadStatus::EXPECTED, LeadStatus::New);
        let value_cents = f.integer_or("value_cents", 0..=MAX_CENTS, 0);
        Some(Self { email: email?, name: name?, status: status?, value_cents: value_cents? })
    }
}
