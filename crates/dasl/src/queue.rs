//! A folder in which a person annotates:
//!
//! ```text
//! ID.image.nii.gz      the CT around the sample, Hounsfield units
//! ID.current.nii.gz    what the network makes of it now, on the same grid
//! ID.json              why it was chosen and what is to be done
//! ID.mask.nii.gz       the answer: n in nodule n (any format that dasl reads)
//! ID.empty             or this one, of any content: there is no nodule
//! ID.refused.txt       why an answer was not taken
//! done/                all this of the samples that are answered
//! ```

mod answer;
mod file_name;
mod oracle;
mod question;

pub use file_name::escape;
pub use oracle::{QueueOracle, refused_name};
