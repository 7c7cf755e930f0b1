//! The program itself, launched as a user would, on a small data set made here.

mod dataset;
mod launch;

mod commands;
#[cfg(unix)]
mod ending;
mod faults;
mod main_job;
mod measures;
mod own_files;
mod remains;
mod report;
mod resume;
