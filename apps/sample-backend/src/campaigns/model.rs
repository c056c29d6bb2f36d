//! What a campaign is.

use larder_http::{Body, Errors, Fields, FromQuery, PageParams};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::choice::choice;
use crate::time::Time;

/// The most money of one campaign, in cents: ten billion, so that the sum of many stays far from the end of 64 bits.
pub(crate) const MAX_CENTS: i64 = 1_000_000_000_000;

choice! {
    /// Where a campaign reaches people.
    pub enum Channel { Email = "email", Sms = "sms", Social = "social", Search = "search", Display = "display" }
}

choice! {
    /// How far a campaign is.
    pub enum CampaignStatus { Draft = "draft", Active = "active", Paused = "paused", Completed = "completed" }
}

/// A campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Campaign {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Where it reaches people.
    pub channel: Channel,
    /// How far it is.
    pub status: CampaignStatus,
    /// What it may cost, in cents.
    #[schema(minimum = 0)]
    pub budget_cents: i64,
    /// When it was made.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
}

/// What a client says of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
pub struct NewCampaign {
    /// Its name.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// Where it reaches people.
    pub channel: Channel,
    /// What it may cost, in cents.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    pub budget_cents: i64,
    /// How far it is; `draft` unless told.
    #[schema(required = false)]
    pub status: CampaignStatus,
}

impl Body for NewCampaign {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let mut f = Fields::of(value, path, errors)?;
        let (name, channel) = (f.text("name", 1..=200), f.choice("channel", Channel::EXPECTED));
        let budget_cents = f.integer("budget_cents", 0..=MAX_CENTS);
        let status = f.choice_or("status", CampaignStatus::EXPECTED, CampaignStatus::Draft);
        Some(Self { name: name?, channel: channel?, budget_cents: budget_cents?, status: status? })
    }
}

/// Which campaigns to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only those with this status.
    pub status: Option<CampaignStatus>,
    /// Only those on this channel.
    pub channel: Option<Channel>,
    /// Which page.
    #[param(ignore)]
    pub page: PageParams,
}

impl FromQuery for Filter {
    fn read(f: &mut Fields<'_>) -> Option<Self> {
        let status = f.optional_choice("status", CampaignStatus::EXPECTED);
        let channel = f.optional_choice("channel", Channel::EXPECTED);
        let page = PageParams::read(f);
        Some(Self { status: status?, channel: channel?, page: page? })
    }
}
