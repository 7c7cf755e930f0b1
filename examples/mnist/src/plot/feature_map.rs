//! The feature map: every sample a point in the colour and the shape of its class, every class named at its median.

use std::ops::Range;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{FONT, Picture, Surface, px};
use super::palette::{Shape, class_colour, class_shape};

const SIZE: (u32, u32) = (640, 680);
/// The part of the points that may lie outside the axes, on each side, so that one stray point does not shrink the rest.
const OUTSIDE: f64 = 0.003;
/// The empty border of the axes, as part of their length.
const MARGIN: f64 = 0.06;

/// The points of one picture.
pub struct FeatureMap {
    pub title: String,
    pub points: Vec<(f64, f64)>,
    /// The number of each point's class.
    pub labels: Vec<u8>,
    /// What each class is called.
    pub names: Vec<String>,
    pub centers: Vec<(f64, f64)>,
}

/// The ranges of the two axes, of equal length so that distances look as they are.
#[derive(Clone)]
pub struct Axes {
    x: Range<f64>,
    y: Range<f64>,
}

impl Axes {
    /// Axes that show all `maps`.
    pub fn around<'a>(maps: impl Iterator<Item = &'a FeatureMap> + Clone) -> Self {
        let span = |coordinate: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = maps
                .clone()
                .flat_map(|map| &map.points)
                .map(coordinate)
                .filter(|value| value.is_finite())
                .collect();
            values.sort_by(f64::total_cmp);
            let Some(last) = values.len().checked_sub(1) else {
                return (0.0, 0.0);
            };
            let outside = (last as f64 * OUTSIDE) as usize;
            let centers = maps.clone().flat_map(|map| &map.centers).map(coordinate);
            centers.fold(
                (values[outside], values[last - outside]),
                |(low, high), value| (low.min(value), high.max(value)),
            )
        };
        let (x, y) = (span(|point| point.0), span(|point| point.1));
        let length = (x.1 - x.0).max(y.1 - y.0);
        // A single point has no extent of its own.
        let length = if length > 0.0 { length } else { 1.0 };
        let half = length * (0.5 + MARGIN);
        let around = |(low, high): (f64, f64)| {
            let middle = (low + high) / 2.0;
            middle - half..middle + half
        };
        Self {
            x: around(x),
            y: around(y),
        }
    }

    fn contain(&self, &(x, y): &(f64, f64)) -> bool {
        self.x.contains(&x) && self.y.contains(&y)
    }
}

impl FeatureMap {
    pub fn draw(&self, axes: &Axes) -> Result<Picture> {
        Picture::draw(SIZE.0, SIZE.1, |surface| {
            self.draw_on(surface, axes)
                .map_err(|error| anyhow!("{error}"))
        })
    }

    /// Draws the map over the whole of `surface`, which may be a part of a picture.
    pub fn draw_on<'a>(
        &'a self,
        surface: &'a Surface<'_>,
        axes: &Axes,
    ) -> Result<(), Box<dyn std::error::Error + 'a>> {
        let grey = RGBColor(0x66, 0x66, 0x66);
        let mut chart = ChartBuilder::on(surface)
            .caption(
                &self.title,
                (FONT, px(19))
                    .into_font()
                    .color(&RGBColor(0x22, 0x22, 0x22)),
            )
            .margin(px(10))
            .margin_right(px(20))
            .x_label_area_size(px(30))
            .y_label_area_size(px(62))
            .build_cartesian_2d(axes.x.clone(), axes.y.clone())?;
        chart
            .configure_mesh()
            .x_labels(7)
            .y_labels(7)
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(0xe8, 0xe8, 0xe8).stroke_width(px(1)))
            .axis_style(RGBColor(0xaa, 0xaa, 0xaa).stroke_width(px(1)))
            .label_style((FONT, px(18)).into_font().color(&grey))
            .draw()?;

        // Charts give places in the picture, and a surface takes them from its own corner.
        let (left, top) = surface.get_base_pixel();
        let from_corner = |(x, y): (i32, i32)| (x - left, y - top);
        let visible = self
            .points
            .iter()
            .zip(&self.labels)
            .filter(|(point, _)| axes.contain(point));
        for (point, &label) in visible {
            let label = usize::from(label);
            let place = from_corner(chart.backend_coord(point));
            draw_point(surface, place, class_shape(label), class_colour(label))?;
        }
        for &center in &self.centers {
            for (colour, width) in [(WHITE, 4), (BLACK, 2)] {
                let style = colour.stroke_width(px(width));
                chart.draw_series([Cross::new(center, px(5), style)])?;
            }
        }
        for (label, median) in self.medians() {
            if !axes.contain(&median) {
                continue;
            }
            let place = from_corner(chart.backend_coord(&median));
            self.draw_label(surface, &self.names[usize::from(label)], place)?;
        }
        Ok(())
    }

    /// The name of a class beside `place`, where its center may be marked, with a white rim that keeps it legible.
    fn draw_label<'a>(
        &self,
        surface: &'a Surface<'_>,
        name: &str,
        (x, y): (i32, i32),
    ) -> Result<(), Box<dyn std::error::Error + 'a>> {
        let rise = if self.centers.is_empty() { 0 } else { 16 };
        let y = y - px(rise) as i32;
        let style = |colour: &RGBColor| {
            (FONT, px(26))
                .into_font()
                .color(colour)
                .pos(Pos::new(HPos::Center, VPos::Center))
        };
        let rim = px(2) as i32;
        for (dx, dy) in [-rim, 0, rim]
            .into_iter()
            .flat_map(|dx| [-rim, 0, rim].map(|dy| (dx, dy)))
        {
            surface.draw(&Text::new(name, (x + dx, y + dy), style(&WHITE)))?;
        }
        surface.draw(&Text::new(name, (x, y), style(&BLACK)))?;
        Ok(())
    }

    /// Each class that has points with the median of both of their coordinates.
    fn medians(&self) -> Vec<(u8, (f64, f64))> {
        (0..=u8::MAX)
            .filter_map(|label| {
                let of_class = || {
                    self.points
                        .iter()
                        .zip(&self.labels)
                        .filter(move |&(_, &other)| other == label)
                };
                let x = median(of_class().map(|(point, _)| point.0))?;
                let y = median(of_class().map(|(point, _)| point.1))?;
                Some((label, (x, y)))
            })
            .collect()
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    let middle = values.len() / 2;
    if values.is_empty() {
        return None;
    }
    let (_, median, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

fn draw_point(
    surface: &super::canvas::Surface<'_>,
    place: (i32, i32),
    shape: Shape,
    colour: RGBColor,
) -> Result<(), Box<dyn std::error::Error>> {
    let filled = colour.mix(0.6).filled();
    let thin = colour.mix(0.75).stroke_width(px(1));
    let size = px(5) as i32 / 2;
    let at = |(x, y): (i32, i32)| (place.0 + x, place.1 + y);
    let corners = [at((-size, -size)), at((size, size))];
    let strokes = |ends: &[(i32, i32)]| -> Result<(), Box<dyn std::error::Error>> {
        for &(x, y) in ends {
            surface.draw(&PathElement::new([at((x, y)), at((-x, -y))], thin))?;
        }
        Ok(())
    };
    match shape {
        Shape::Disc => surface.draw(&Circle::new(place, size, filled))?,
        Shape::Ring => surface.draw(&Circle::new(place, size, thin))?,
        Shape::Square => surface.draw(&Rectangle::new(corners, filled))?,
        Shape::Frame => surface.draw(&Rectangle::new(corners, thin))?,
        Shape::Triangle => {
            let ends = [(0, -size), (size, size), (-size, size)].map(at);
            surface.draw(&Polygon::new(ends, filled))?;
        }
        Shape::Wedge => {
            let ends = [(0, size), (size, -size), (-size, -size)].map(at);
            surface.draw(&Polygon::new(ends, filled))?;
        }
        Shape::Diamond => {
            let long = size * 4 / 3;
            let ends = [(0, -long), (long, 0), (0, long), (-long, 0)].map(at);
            surface.draw(&Polygon::new(ends, filled))?;
        }
        Shape::Plus => strokes(&[(0, size), (size, 0)])?,
        Shape::Star => strokes(&[(0, size), (size, size / 2), (size, -size / 2)])?,
        Shape::Bar => strokes(&[(size * 4 / 3, 0)])?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(points: Vec<(f64, f64)>, centers: Vec<(f64, f64)>) -> FeatureMap {
        FeatureMap {
            title: "softmax, test, epoch 1".to_owned(),
            labels: (0..points.len()).map(|index| (index % 3) as u8).collect(),
            names: ["A", "b", "27"].map(str::to_owned).to_vec(),
            points,
            centers,
        }
    }

    #[test]
    fn axes_are_square_hold_the_centers_and_let_few_strays_out() {
        let mut points: Vec<_> = (0..1000).map(|i| (f64::from(i) / 1000.0, 0.5)).collect();
        points.push((1e6, 0.5));
        let axes = Axes::around([map(points, vec![(0.0, -2.0)])].iter());
        assert!((axes.x.end - axes.x.start) - (axes.y.end - axes.y.start) < 1e-9);
        assert!(axes.x.end < 3.0, "{:?}", axes.x);
        assert!(axes.y.contains(&-2.0), "{:?}", axes.y);
    }

    #[test]
    fn degenerate_maps_can_be_drawn() {
        for points in [vec![], vec![(1.0, 1.0)], vec![(f64::NAN, 0.0), (1.0, 2.0)]] {
            let map = map(points, vec![]);
            map.draw(&Axes::around([&map].into_iter())).unwrap();
        }
    }

    #[test]
    fn the_median_is_taken_per_class_and_coordinate() {
        let map = map(
            vec![
                (1.0, 9.0),
                (0.0, 0.0),
                (0.0, 0.0),
                (2.0, 7.0),
                (0.0, 0.0),
                (0.0, 0.0),
                (30.0, 8.0),
            ],
            vec![],
        );
        assert_eq!(map.medians()[0], (0, (2.0, 8.0)));
    }
}
