//! One file per command.

pub mod bench;
pub mod demo;
pub mod evaluate;
pub mod import_lidc;
pub mod import_voi;
pub mod learn;
pub mod segment;
pub mod train;

mod prepare;
