//! decode

pub mod registers;
