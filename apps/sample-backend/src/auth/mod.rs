//! Who is asking: tokens, passwords and the limit on log-ins.

mod password;
mod throttle;
mod token;

pub(crate) use password::hash_now;
pub use password::{NO_PASSWORD, Passwords};
pub use throttle::Throttle;
pub use token::{Claims, Tokens};
