//! Pictures as SVG: the page holds their text, `resvg` draws their files with a font that is compiled in. And the
//! colours, and the shapes of the points of the classes.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use minijinja::HtmlEscape;
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb::Database};

use crate::terminal::number;

/// The width of a letter of the font, as part of its size.
const LETTER: f64 = 0.602;
/// About how many ticks an axis has.
const TICKS: f64 = 6.0;

/// The colours by the names of the page's variables, on white and on black. Those of the classes are told apart with every
/// common kind of colour blindness: Paul Tol's "muted" scheme, its light colours darker.
pub const PALETTE: [(&str, &str, &str); 15] = [
    ("c0", "#332288", "#a094ff"),
    ("c1", "#bb5566", "#f08090"),
    ("c2", "#887418", "#d8bc50"),
    ("c3", "#117733", "#48c070"),
    ("c4", "#2280b4", "#68bcf0"),
    ("c5", "#882255", "#e070a8"),
    ("c6", "#228074", "#50ccbc"),
    ("c7", "#6b6b10", "#bcbc58"),
    ("c8", "#aa4499", "#e090d8"),
    ("c9", "#555555", "#b8b8b8"),
    ("ink", "#111111", "#eeeeee"),
    ("soft", "#555555", "#b0b0b0"),
    ("line", "#aaaaaa", "#777777"),
    ("grid", "#e8e8e8", "#333333"),
    ("paper", "#ffffff", "#000000"),
];
const COLOURS: usize = 10;

const DISC: &str = "m-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0z";
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

/// A place in a picture, in pixels.
pub type Place = (f64, f64);

/// A picture, or a part of one.
pub struct Drawing {
    pub width: f64,
    pub height: f64,
    /// SVG elements, whose colours are variables.
    pub content: String,
}

impl Drawing {
    /// The SVG, with more `attributes`, for a page that has the variables of the palette.
    pub fn svg(&self, attributes: &str) -> String {
        let (width, height, content) = (self.width, self.height, &self.content);
        format!(
            "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" text-anchor=\"middle\" \
             fill=\"var(--soft)\" {attributes}>{content}</svg>"
        )
    }

    pub fn pixmap(&self) -> Result<Pixmap> {
        static OPTIONS: LazyLock<Options<'_>> = LazyLock::new(|| {
            let mut fonts = Database::new();
            fonts.load_font_data(epaint_default_fonts::HACK_REGULAR.to_vec());
            Options {
                fontdb: Arc::new(fonts),
                font_family: "Hack".to_owned(),
                ..Options::default()
            }
        });
        let svg = self.svg("xmlns=\"http://www.w3.org/2000/svg\"");
        let svg = PALETTE.iter().fold(svg, |svg, (name, by_day, _)| {
            svg.replace(&format!("var(--{name})"), by_day)
        });
        let tree = Tree::from_str(&svg, &OPTIONS)?;
        let size = (self.width as u32, self.height as u32);
        let mut pixmap = Pixmap::new(size.0, size.1).context("a picture without an area")?;
        pixmap.fill(Color::WHITE);
        resvg::render(&tree, Transform::identity(), &mut pixmap.as_mut());
        Ok(pixmap)
    }
}

/// Text around the place `(x, y)`, as large as `width` allows and no larger than `size`.
pub fn text(text: &str, (x, y): Place, size: f64, width: f64, attributes: &str) -> String {
    let letters = text.chars().count().max(1) as f64;
    let size = (width / letters / LETTER).min(size);
    format!(
        "<text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"{size:.1}\" {attributes}>{}</text>",
        y + 0.35 * size,
        HtmlEscape(text)
    )
}

/// The grid of a square from `(0, 0)` on with the axes `ranges`, to the right and up, which are called `names`.
pub fn grid(ranges: [&Range<f64>; 2], names: [&str; 2], side: f64, letters: f64) -> String {
    let mut svg = String::new();
    for (value, tick) in ticks(ranges[0]) {
        let x = (value - ranges[0].start) / (ranges[0].end - ranges[0].start) * side;
        svg += &format!("<path d=\"M{x:.1} 0v{side}\" stroke=\"var(--grid)\"/>");
        svg += &text(&tick, (x, side + letters), letters, side, "");
    }
    for (value, tick) in ticks(ranges[1]) {
        let y = (ranges[1].end - value) / (ranges[1].end - ranges[1].start) * side;
        svg += &format!("<path d=\"M0 {y:.1}h{side}\" stroke=\"var(--grid)\"/>");
        let (right, width) = (-0.4 * letters, 3.0 * letters);
        svg += &text(&tick, (right, y), letters, width, "text-anchor=\"end\"");
    }
    let frame = format!(
        "<path d=\"M0 0V{side}H{side}\" fill=\"none\" stroke=\"var(--line)\"/>{}",
        text(
            names[0],
            (side / 2.0, side + 2.4 * letters),
            letters,
            side,
            ""
        )
    );
    let turned = format!(
        "transform=\"rotate(-90) translate({} {})\"",
        -side / 2.0,
        -4.2 * letters
    );
    svg + &frame + &text(names[1], (0.0, 0.0), letters, side, &turned)
}

/// The round numbers of an axis, with their text.
fn ticks(range: &Range<f64>) -> Vec<(f64, String)> {
    let least = (range.end - range.start) / TICKS;
    let power = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|factor| factor * power);
    let step = steps.into_iter().find(|&step| step >= least);
    let step = step.unwrap_or(10.0 * power);
    let digits = (1e-9 - step.log10()).ceil().clamp(0.0, 9.0) as usize;
    let [first, last] = [(range.start / step).ceil(), (range.end / step).floor()];
    let values = (first as i64..=last as i64).map(|index| index as f64 * step);
    values.map(|value| (value, number(value, digits))).collect()
}

/// The colour of class `label`; beyond ten classes they repeat.
pub fn class_colour(label: usize) -> String {
    format!("var(--c{})", label % COLOURS)
}

/// The shape of the points of class `label`. With the colour it tells a hundred classes apart, and ten without it.
fn class_shape(label: usize) -> (&'static str, bool) {
    SHAPES[(label + label / COLOURS) % SHAPES.len()]
}

/// Points of class `label`.
pub fn points(places: impl Iterator<Item = Place>, label: usize) -> String {
    let (shape, is_filled) = class_shape(label);
    let path: String = places
        .map(|(x, y)| format!("M{x:.1} {y:.1}{shape}"))
        .collect();
    let colour = class_colour(label);
    let paint = match is_filled {
        true => format!("fill=\"{colour}\""),
        false => format!("fill=\"none\" stroke=\"{colour}\""),
    };
    format!("<path d=\"{path}\" {paint}/>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_needs_no_font_of_the_system() {
        let drawing = Drawing {
            width: 40.0,
            height: 20.0,
            content: text("48", (20.0, 10.0), 16.0, 40.0, ""),
        };
        let pixmap = drawing.pixmap().unwrap();
        let dark = pixmap.pixels().iter().filter(|pixel| pixel.red() < 128);
        assert!(dark.count() > 20);
    }

    #[test]
    fn text_cannot_become_markup() {
        let svg = text("<a> & \"b\"", (0.0, 0.0), 16.0, 400.0, "");
        assert!(svg.contains(">&lt;a&gt; &amp; &quot;b&quot;<"), "{svg}");
    }

    #[test]
    fn ticks_are_round_and_short_and_zero_has_no_sign() {
        let shown = |range| Vec::from_iter(ticks(&range).into_iter().map(|tick| tick.1));
        assert_eq!(shown(-0.25..0.75), ["-0.2", "0.0", "0.2", "0.4", "0.6"]);
        assert_eq!(shown(-21.0..20.0), ["-20", "-10", "0", "10", "20"]);
        assert_eq!(shown(1.0..1.000002)[1], "1.0000005");
        assert!(shown(0.0..3e8).contains(&"1.000e8".to_owned()));
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
        for (name, day, night) in &PALETTE[..12] {
            let on_white = 1.05 / (luminance(day) + 0.05);
            let on_black = (luminance(night) + 0.05) / 0.05;
            assert!(
                on_white >= 3.0 && on_black >= 3.0,
                "{name}: {on_white}, {on_black}"
            );
        }
    }
}
