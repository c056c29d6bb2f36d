//! Who is asking: tokens, passwords and the limit on log-ins.

mod add;
mod password;
mod routes;
mod sql;
mod throttle;
mod token;
mod user;

pub use add::{AddUserError, NewUser, add_user};
pub(crate) use password::hash_now;
pub use password::{NO_PASSWORD, Passwords};
pub(crate) use routes::routes;
pub use sql::Account;
pub(crate) use sql::kept_secret;
pub use throttle::Throttle;
pub use token::{BadToken, Claims, Tokens};
pub use user::User;
