//! From bytes on the wire to samples. Pure: topics, payloads and registers.

pub mod payload;
pub mod registers;
pub mod topic;
