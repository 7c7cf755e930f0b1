//! Pictures: drawn with plotters at twice their size, so that the edges come out smooth, with a font of their own. And the
//! colours of the classes, and the shapes of their points.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Once;

use anyhow::{Context, Error, Result};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::run::before_write;
use crate::terminal::number;

/// The registered font, whose letters are all `LETTER` of its size wide.
const FONT: &str = "sans-serif";
const LETTER: f64 = 0.602;
/// How much larger a picture is drawn than it is saved, along each side.
const OVERSAMPLING: u32 = 2;
const CHANNELS: usize = 3;

pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub const SOFT: RGBColor = RGBColor(0x66, 0x66, 0x66);
pub const LINE: RGBColor = RGBColor(0xaa, 0xaa, 0xaa);

/// The surface that a picture is drawn on.
pub type Surface<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// An RGB picture.
pub struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

/// Lengths given in pixels of the finished picture.
pub fn px(length: u32) -> u32 {
    length * OVERSAMPLING
}

/// Text of `size` pixels.
pub fn text<'a>(size: f64, colour: &RGBColor) -> TextStyle<'a> {
    let size = size * f64::from(OVERSAMPLING);
    (FONT, size).into_font().color(colour)
}

/// As [`text`], around its place.
pub fn centered<'a>(size: f64, colour: &RGBColor) -> TextStyle<'a> {
    text(size, colour).pos(Pos::new(HPos::Center, VPos::Center))
}

/// The size at which `text` fits `width` pixels, `most` at the most.
pub fn fitting(text: &str, width: u32, most: f64) -> f64 {
    let letters = text.chars().count().max(1) as f64;
    (f64::from(width) / letters / LETTER).min(most)
}

/// A chart with two axes of numbers.
pub type Chart<'a, 'b> =
    ChartContext<'a, BitMapBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Draws the axes of `chart`, which are called `names`, with about so many labels each, in letters of `size`.
pub fn draw_axes(
    chart: &mut Chart<'_, '_>,
    names: [&str; 2],
    labels: [usize; 2],
    size: f64,
) -> Result<()> {
    let (x, y) = (chart.x_range(), chart.y_range());
    let spans = [x.end - x.start, y.end - y.start];
    chart
        .configure_mesh()
        .x_desc(names[0])
        .y_desc(names[1])
        .x_labels(labels[0])
        .y_labels(labels[1])
        .x_label_formatter(&|value| tick(*value, spans[0]))
        .y_label_formatter(&|value| tick(*value, spans[1]))
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(0xe8, 0xe8, 0xe8).stroke_width(px(1)))
        .axis_style(LINE.stroke_width(px(1)))
        .label_style(text(size, &SOFT))
        .axis_desc_style(text(size, &SOFT))
        .draw()?;
    Ok(())
}

/// `value` on an axis that is `span` long.
fn tick(value: f64, span: f64) -> String {
    let digits = (2.0 - span.log10().floor()).clamp(0.0, 9.0) as usize;
    let text = number(value, digits);
    match text.contains('.') && !text.contains('e') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

impl Picture {
    /// A white picture with what `draw` puts on it.
    pub fn draw(
        width: u32,
        height: u32,
        draw: impl FnOnce(&Surface<'_>) -> Result<()>,
    ) -> Result<Self> {
        register_font();
        let (wide, high) = (px(width), px(height));
        let mut large = vec![0; (wide * high) as usize * CHANNELS];
        {
            let surface = BitMapBackend::with_buffer(&mut large, (wide, high)).into_drawing_area();
            surface.fill(&WHITE)?;
            draw(&surface)?;
            surface.present()?;
        }
        Ok(Self {
            width,
            height,
            pixels: shrunk(&large, wide as usize, OVERSAMPLING as usize),
        })
    }

    /// The places of the pixels that are black.
    #[cfg(test)]
    pub fn black(&self) -> Vec<(f64, f64)> {
        let pixels = self.pixels.chunks_exact(CHANNELS).zip(0..);
        let black = pixels.filter(|(pixel, _)| pixel.iter().all(|&value| value < 24));
        let place = |index: u32| (index % self.width, index / self.width);
        black
            .map(|(_, index)| place(index))
            .map(|(x, y)| (x.into(), y.into()))
            .collect()
    }

    pub fn save_png(&self, path: &Path) -> Result<()> {
        save(path, |file| {
            let mut encoder = png::Encoder::new(file, self.width, self.height);
            encoder.set_color(png::ColorType::Rgb);
            encoder.set_compression(png::Compression::High);
            let mut writer = encoder.write_header()?;
            writer.write_image_data(&self.pixels)?;
            Ok(writer.finish()?)
        })
    }
}

/// Shows `pictures` of one size one after the other, the last one longest, over and over.
pub fn save_gif(pictures: &[Picture], path: &Path) -> Result<()> {
    /// In hundredths of a second.
    const DELAY: u16 = 60;
    const LAST_DELAY: u16 = 240;
    /// Of the choice of a frame's colours: 1 is best and slowest, 30 fastest.
    const SPEED: i32 = 10;

    let Some(first) = pictures.first() else {
        return Ok(());
    };
    save(path, |file| {
        let (width, height) = (first.width as u16, first.height as u16);
        let mut encoder = gif::Encoder::new(file, width, height, &[])?;
        encoder.set_repeat(gif::Repeat::Infinite)?;
        for (picture, left) in pictures.iter().zip((0..pictures.len()).rev()) {
            let mut frame = gif::Frame::from_rgb_speed(width, height, &picture.pixels, SPEED);
            frame.delay = if left == 0 { LAST_DELAY } else { DELAY };
            encoder.write_frame(&frame)?;
        }
        Ok(())
    })
}

fn save(path: &Path, write: impl FnOnce(BufWriter<File>) -> Result<()>) -> Result<()> {
    before_write();
    let file = File::create(path).map_err(Error::from);
    file.and_then(|file| write(BufWriter::new(file)))
        .with_context(|| format!("{}: cannot be written", path.display()))
}

/// The mean of every square of `factor` x `factor` pixels.
fn shrunk(pixels: &[u8], width: usize, factor: usize) -> Vec<u8> {
    let row_len = width * CHANNELS;
    let mean = |index: usize| {
        let (x, y) = (index % (row_len / factor), index / (row_len / factor));
        let first = y * factor * row_len + x / CHANNELS * factor * CHANNELS + x % CHANNELS;
        let places = (0..factor * factor)
            .map(|cell| first + cell / factor * row_len + cell % factor * CHANNELS);
        let sum: usize = places.map(|place| usize::from(pixels[place])).sum();
        (sum / (factor * factor)) as u8
    };
    (0..pixels.len() / factor.pow(2)).map(mean).collect()
}

fn register_font() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        let font = epaint_default_fonts::HACK_REGULAR;
        // The error carries nothing: it says that the bytes are no font.
        assert!(
            plotters::style::register_font(FONT, FontStyle::Normal, font).is_ok(),
            "the compiled-in font is a font"
        );
    });
}

/// Told apart with every common kind of colour blindness: Paul Tol's "muted" scheme, its light colours darker, so that
/// all are legible on white, and on black once the page in its dark form has turned them.
const COLOURS: [RGBColor; 10] = [
    RGBColor(0x33, 0x22, 0x88),
    RGBColor(0xbb, 0x55, 0x66),
    RGBColor(0x88, 0x74, 0x18),
    RGBColor(0x11, 0x77, 0x33),
    RGBColor(0x22, 0x80, 0xb4),
    RGBColor(0x88, 0x22, 0x55),
    RGBColor(0x22, 0x80, 0x74),
    RGBColor(0x6b, 0x6b, 0x10),
    RGBColor(0xaa, 0x44, 0x99),
    RGBColor(0x55, 0x55, 0x55),
];
/// How much of its colour a filled point has, so that one sees how many lie on each other.
const OPACITY: f64 = 0.85;

/// A shape of points, as far from the others as a few pixels allow.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Disc,
    Ring,
    Frame,
    /// With these corners, in units of half a point's size.
    Filled(&'static [(f64, f64)]),
    /// Lines through the middle with these ends.
    Lines(&'static [(f64, f64)]),
}

const SHAPES: [Shape; 10] = [
    Shape::Disc,
    Shape::Filled(&[(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]),
    Shape::Filled(&[(0.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]),
    Shape::Ring,
    Shape::Lines(&[(0.0, 1.0), (1.0, 0.0)]),
    Shape::Filled(&[(0.0, -1.4), (1.4, 0.0), (0.0, 1.4), (-1.4, 0.0)]),
    Shape::Frame,
    Shape::Filled(&[(0.0, 1.0), (1.0, -1.0), (-1.0, -1.0)]),
    Shape::Lines(&[(0.0, 1.0), (1.0, 0.5), (1.0, -0.5)]),
    Shape::Lines(&[(1.4, 0.0)]),
];

/// The shape of the points of class `label`. With the colour it tells a hundred classes apart, and ten without it.
fn class_shape(label: usize) -> Shape {
    SHAPES[(label + label / COLOURS.len()) % SHAPES.len()]
}

/// The colour of class `label`; beyond ten classes they repeat.
pub fn class_colour(label: usize) -> RGBColor {
    COLOURS[label % COLOURS.len()]
}

/// Draws a point of class `label`.
pub fn draw_point(surface: &Surface<'_>, place: (i32, i32), label: usize) -> Result<()> {
    let colour = class_colour(label);
    let (filled, thin) = (colour.mix(OPACITY).filled(), colour.stroke_width(px(1)));
    let size = px(5) as i32 / 2;
    let at = |&(x, y): &(f64, f64)| {
        let along = |part: f64| (part * f64::from(size)).round() as i32;
        (place.0 + along(x), place.1 + along(y))
    };
    match class_shape(label) {
        Shape::Disc => surface.draw(&Circle::new(place, size, filled))?,
        Shape::Ring => surface.draw(&Circle::new(place, size, thin))?,
        Shape::Frame => {
            surface.draw(&Rectangle::new([at(&(-1.0, -1.0)), at(&(1.0, 1.0))], thin))?;
        }
        Shape::Filled(corners) => {
            let corners = Vec::from_iter(corners.iter().map(at));
            surface.draw(&Polygon::new(corners, filled))?;
        }
        Shape::Lines(ends) => {
            for &(x, y) in ends {
                surface.draw(&PathElement::new([at(&(x, y)), at(&(-x, -y))], thin))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_takes_the_mean_of_each_channel() {
        let pixels = [
            0, 10, 20, 4, 10, 20, // first row
            0, 30, 20, 8, 30, 20,
        ];
        assert_eq!(shrunk(&pixels, 2, 2), [3, 20, 20]);
    }

    #[test]
    fn text_needs_no_font_of_the_system() {
        let picture = Picture::draw(40, 20, |surface| {
            Ok(surface.draw(&Text::new("48", (0, 0), text(16.0, &BLACK)))?)
        });
        let dark = picture.unwrap().pixels.iter().filter(|&&p| p < 64).count();
        assert!(dark > 30, "{dark} dark values");
    }

    #[test]
    fn ticks_are_short_and_zero_has_no_sign() {
        let ticks = [
            (-1e-17, 2.0),
            (0.1 + 0.2, 1.0),
            (-10.0, 40.0),
            (2.5, 10.0),
            (1e-7, 1e-6),
        ];
        let shown = ticks.map(|(value, span)| tick(value, span));
        assert_eq!(shown, ["0", "0.3", "-10", "2.5", "0.0000001"]);
        assert_eq!(tick(3e29, 1e30), "3.000e29");
    }

    #[test]
    fn text_is_as_wide_as_it_may_be() {
        assert_eq!(fitting("ten", 1000, 12.0), 12.0);
        assert!(fitting(&"x".repeat(100), 320, 12.0) < 5.4);
    }

    #[test]
    fn ten_classes_differ_in_shape_and_a_hundred_in_shape_or_colour() {
        for label in 0..100 {
            for other in 0..label {
                let same_shape = class_shape(label) == class_shape(other);
                let same_colour = class_colour(label) == class_colour(other);
                assert!(!(same_shape && same_colour), "{label} and {other}");
                assert!(!(same_shape && label < 10), "{label} and {other}");
            }
        }
    }

    /// The contrast of two colours, as the guidelines for accessible pages define it.
    fn contrast(colour: [f64; 3], other: [f64; 3]) -> f64 {
        let luminance = |colour: [f64; 3]| {
            let [red, green, blue] = colour.map(|value| match value <= 0.04045 {
                true => value / 12.92,
                false => ((value + 0.055) / 1.055).powf(2.4),
            });
            0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
        };
        let ratio = luminance(colour) / luminance(other);
        ratio.max(1.0 / ratio)
    }

    #[test]
    fn every_class_is_legible_by_day_and_by_night() {
        for RGBColor(red, green, blue) in COLOURS {
            let on_white = |value: u8| 1.0 - OPACITY * (1.0 - f64::from(value) / 255.0);
            let day = [red, green, blue].map(on_white);
            // The page's filter: invert, then turn the hue by half a circle.
            let [red, green, blue] = day.map(|value| 1.0 - value);
            let grey = 2.0 * (0.213 * red + 0.715 * green + 0.072 * blue);
            let night = [red, green, blue].map(|value| (grey - value).clamp(0.0, 1.0));
            let contrasts = [contrast(day, [1.0; 3]), contrast(night, [0.0; 3])];
            assert!(
                contrasts.iter().all(|&ratio| ratio >= 3.0),
                "{day:?}: {contrasts:?}"
            );
        }
    }
}
