//! Publishing: from the artifacts of a run, and from nothing else, to the places where people look.
//!
//! ```text
//! artifacts of one or several runs of a commit -> join -> Item in the outbox -> each Destination, once -> gone
//! ```
//!
//! [`material`] joins what different jobs left of one commit and reads it back; an [`Item`] of the [`outbox`] keeps it
//! on disk, with the list of [`Destination`]s that are still to get it, until all of them have it. So what could not be
//! sent today is sent by the next `hpc-ci publish`, and where a node has no way out the outbox is simply where things wait.
//!
//! Nothing here reads the checkout: addresses come from trusted settings and from what the CI server says
//! ([`circumstances`]), never from artifacts. An item holds no address and no secret. Whether the code was good is not judged
//! here; trouble of a destination never changes the results of a run.

mod answer;
pub mod badge;
pub mod branch;
pub mod circumstances;
pub mod codecov;
mod courier;
pub mod dashboard;
pub mod disclosure;
mod error;
pub mod github;
pub mod gitlab;
pub mod http;
mod item;
pub mod material;
pub mod outbox;
pub mod place;
pub mod results_branch;
pub mod status;
pub mod token;

pub use circumstances::Circumstances;
pub use courier::{Courier, DeliveryError, Parcel};
pub use error::PublishError;
pub use item::{Delivery, Destination, Item};
pub use material::Material;
pub use outbox::Outbox;
