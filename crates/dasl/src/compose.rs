//! Composed scans: real nodules put into the lungs of real scans, to train on more than there is.
//!
//! The idea and its use for training are Pezeshk, Petrick, Chen and Sahiner's, "Seamless Lesion
//! Insertion for Data Augmentation in CAD Training", IEEE Trans Med Imaging 36(4):1005-1015, 2017
//! (doi 10.1109/TMI.2016.2640180). They solve Poisson's equation inside a lesion's outline; here
//! lesion and background are mixed over a soft margin, as docs/paper-notes.md explains.

pub mod block;
pub mod donor;
pub mod excluded;
pub mod insert;
pub mod room;
pub mod stamp;
pub mod turn;
