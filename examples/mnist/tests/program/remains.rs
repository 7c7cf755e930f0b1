//! What a run leaves, but for that in which two equal runs differ.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn_pack::Reader;
use serde_json::Value;

use crate::launch::{json, json_lines};

/// What was measured of the machine and not of the network, and the command line, which names the run's directory.
const OF_ONE_RUN: [&str; 3] = ["seconds", "images_per_second", "command_line"];

/// The content of every file by its path; of a checkpoint's files, that of every tensor and number.
pub struct Remains(BTreeMap<String, Vec<u8>>);

impl Remains {
    pub fn of(run: &Path) -> Self {
        let mut remains = Self(BTreeMap::new());
        remains.add_directory(run, "");
        remains
    }

    /// Asserts that `other` has the same in every bit.
    pub fn assert_equal(&self, other: &Self, what: &str) {
        let names = |remains: &Self| Vec::from_iter(remains.0.keys().cloned());
        assert_eq!(names(self), names(other), "{what}");
        for (name, content) in &self.0 {
            assert!(*content == other.0[name], "{what}: {name} differs");
        }
    }

    fn add_directory(&mut self, directory: &Path, name: &str) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{name}/{}", path.file_name().unwrap().to_str().unwrap());
            match path.extension().and_then(|extension| extension.to_str()) {
                _ if path.is_dir() => self.add_directory(&path, &name),
                // Of files with random identities and times.
                _ if name.ends_with("checksums.json") => {}
                Some("bpk") => self.add_pack(&path, &name),
                Some("json") => self.add(name, comparable(json(&path))),
                Some("jsonl") => self.add(name, comparable(json_lines(&path).into())),
                // It has the times and the command line of its run in its text.
                Some("html") => self.add(name, Vec::new()),
                _ => self.add(name, fs::read(&path).unwrap()),
            }
        }
    }

    /// Adds the tensors and numbers of a file of Burn's. An optimizer calls its own by the random identity of a
    /// parameter, and says where in the model each parameter is.
    fn add_pack(&mut self, path: &Path, name: &str) {
        let reader = Reader::from_file(path).unwrap();
        let paths = reader.metadata().clone();
        let full_name = |part: &str| match part.split_once('.') {
            Some((identity, rest)) if paths.contains_key(identity) => {
                format!("{name}/{}.{rest}", paths[identity])
            }
            _ => format!("{name}/{part}"),
        };
        for (part, number) in reader.scalars() {
            self.add(full_name(part), format!("{number:?}").into());
        }
        for part in reader.tensor_names() {
            self.add(full_name(part), reader.tensor_data(part).unwrap());
        }
    }

    fn add(&mut self, name: String, content: Vec<u8>) {
        assert!(!self.0.contains_key(&name), "{name} is there twice");
        self.0.insert(name, content);
    }
}

fn comparable(mut value: Value) -> Vec<u8> {
    strip(&mut value);
    value.to_string().into()
}

/// Takes away what differs between equal runs.
fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !OF_ONE_RUN.contains(&name.as_str()));
            fields.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}
