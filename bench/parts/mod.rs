//! What is measured, one part a file. Each prints its table and adds it to the report.

pub mod bytes;
pub mod data_path;
pub mod flatness;
pub mod load;
pub mod memory;
pub mod requests;
pub mod start;
