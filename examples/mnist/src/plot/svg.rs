//! Pictures as SVG: the page holds their text, `resvg` draws their files with a font that is compiled in. And the
//! colours, and the shapes of the points of the classes.

use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb::Database};

/// How many classes have a colour of their own.
const COLOURS: usize = 10;
/// The names of the colours, which are variables of the page and of the pictures: those of the classes come first.
pub const NAMES: [&str; 15] = [
    "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9", "ink", "soft", "line", "grid",
    "paper",
];
/// On white. The classes are told apart with every common kind of colour blindness: Paul Tol's "muted" scheme, its light
/// colours darker.
pub const DAY: [&str; 15] = [
    "#332288", "#bb5566", "#887418", "#117733", "#2280b4", "#882255", "#228074", "#6b6b10",
    "#aa4499", "#555555", "#111111", "#555555", "#aaaaaa", "#e8e8e8", "#ffffff",
];
/// On black.
pub const NIGHT: [&str; 15] = [
    "#a094ff", "#f08090", "#d8bc50", "#48c070", "#68bcf0", "#e070a8", "#50ccbc", "#bcbc58",
    "#e090d8", "#b8b8b8", "#eeeeee", "#b0b0b0", "#777777", "#333333", "#000000",
];

const DISC: &str = "m-2.5 0a2.5 2.5 0 105 0 2.5 2.5 0 10-5 0";
const SQUARE: &str = "m-2.5-2.5h5v5h-5z";
/// The shapes of points, as far from each other as a few pixels allow, and whether they are filled.
const SHAPES: [(&str, bool); 10] = [
    (DISC, true),
    (SQUARE, true),
    ("m0-2.5l2.5 5h-5z", true),
    (DISC, false),
    ("m0-2.5v5m-2.5-2.5h5", false),
    ("m0-3.5l3.5 3.5-3.5 3.5-3.5-3.5z", true),
    (SQUARE, false),
    ("m0 2.5l2.5-5h-5z", true),
    ("m0-2.5v5m-2.5-3.75l5 2.5m0-2.5l-5 2.5", false),
    ("m-3.5 0h7", false),
];

/// The name of the colour of class `label`; beyond ten classes they repeat.
pub fn class_colour(label: usize) -> &'static str {
    NAMES[label % COLOURS]
}

/// The shape of the points of class `label`. With the colour it tells a hundred classes apart, and ten without it.
pub fn class_shape(label: usize) -> (&'static str, bool) {
    SHAPES[(label + label / COLOURS) % SHAPES.len()]
}

/// Draws an SVG on white.
pub fn pixmap(svg: &str) -> Result<Pixmap> {
    static OPTIONS: LazyLock<Options<'_>> = LazyLock::new(|| {
        let mut fonts = Database::new();
        fonts.load_font_data(epaint_default_fonts::HACK_REGULAR.to_vec());
        Options {
            fontdb: Arc::new(fonts),
            font_family: "Hack".to_owned(),
            ..Options::default()
        }
    });
    // A page needs no name space.
    let mut svg = svg.replacen("<svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"", 1);
    for (name, colour) in NAMES.iter().zip(DAY) {
        svg = svg.replace(&format!("var(--{name})"), colour);
    }
    let tree = Tree::from_str(&svg, &OPTIONS)?;
    let size = tree.size().to_int_size();
    let pixmap = Pixmap::new(size.width(), size.height());
    let mut pixmap = pixmap.context("a picture that is too large")?;
    pixmap.fill(Color::WHITE);
    resvg::render(&tree, Transform::identity(), &mut pixmap.as_mut());
    Ok(pixmap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_needs_no_font_of_the_system() {
        let text = "<text y=\"20\" font-size=\"16\" fill=\"var(--ink)\">48</text>";
        let svg = format!("<svg width=\"40\" height=\"24\">{text}</svg>");
        let pixmap = pixmap(&svg).unwrap();
        let dark = pixmap.pixels().iter().filter(|pixel| pixel.red() < 64);
        assert!(dark.count() > 20);
    }

    #[test]
    fn a_hundred_classes_differ_in_shape_or_colour_and_ten_in_shape() {
        for label in 0..100 {
            for other in 0..label {
                let same_shape = class_shape(label) == class_shape(other);
                let same_colour = class_colour(label) == class_colour(other);
                assert!(!(same_shape && same_colour), "{label} and {other}");
                assert!(!(same_shape && label < 10), "{label} and {other}");
            }
        }
    }

    /// The brightness of a colour, as the guidelines for accessible pages define it.
    fn luminance(colour: &str) -> f64 {
        let part = |at: usize| {
            let value = u8::from_str_radix(&colour[at..at + 2], 16).unwrap();
            match f64::from(value) / 255.0 {
                value if value <= 0.04045 => value / 12.92,
                value => ((value + 0.055) / 1.055).powf(2.4),
            }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    #[test]
    fn every_class_and_all_text_is_legible_by_day_and_by_night() {
        for ((name, day), night) in NAMES.iter().zip(DAY).zip(NIGHT).take(12) {
            let on_white = 1.05 / (luminance(day) + 0.05);
            let on_black = (luminance(night) + 0.05) / 0.05;
            assert!(
                on_white >= 3.0 && on_black >= 3.0,
                "{name}: {on_white}, {on_black}"
            );
        }
    }
}
