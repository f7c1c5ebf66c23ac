"""A command's options as Qt fields, made from its knobs."""

from collections.abc import Mapping

from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QGroupBox, QLineEdit, QVBoxLayout, QWidget

from napari_connectomics.forms import Knob

Field = QCheckBox | QComboBox | QLineEdit

LAST = ("Network", "Run")
"""Headings that come last: how it is computed matters less than what."""


class Form(QWidget):
    """One field a knob, under their headings; what is left alone is left to the command."""

    def __init__(self, knobs: list[Knob], defaults: Mapping[str, object] | None = None) -> None:
        super().__init__()
        self.knobs = knobs
        self.fields: dict[str, Field] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        boxes: dict[str, QFormLayout] = {}
        for knob in sorted(knobs, key=lambda one: LAST.index(one.group) if one.group in LAST else -1):
            if knob.group not in boxes:
                box = QGroupBox(knob.group)
                boxes[knob.group] = QFormLayout(box)
                boxes[knob.group].setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
                column.addWidget(box)
            field = _field(knob, (defaults or {}).get(knob.name))
            field.setObjectName(knob.name)
            field.setToolTip(_tip(knob))
            self.fields[knob.name] = field
            boxes[knob.group].addRow(knob.label, field)
            boxes[knob.group].labelForField(field).setToolTip(_tip(knob))

    @property
    def given(self) -> dict[str, str | bool]:
        """What was filled in, by the knob's name."""
        return {name: _value(field) for name, field in self.fields.items()}

    def fill(self, values: Mapping[str, str | bool]) -> None:
        """Fill fields in, as a person would."""
        for name, value in values.items():
            field = self.fields[name]
            if isinstance(field, QCheckBox):
                field.setChecked(bool(value))
            elif isinstance(field, QComboBox):
                field.setCurrentIndex(max(0, field.findData(str(value))))
            else:
                field.setText(str(value))


def _field(knob: Knob, default: object) -> Field:
    usual = knob.default if default is None else shown(default)
    if knob.kind == "flag":
        return QCheckBox()
    if knob.kind == "choice":
        choice = narrow(QComboBox())
        choice.addItem(f"({usual})" if usual else "", "")
        for one in knob.choices:
            choice.addItem(one, one)
        return choice
    line = QLineEdit()
    line.setMinimumWidth(60)
    line.setPlaceholderText(usual or "chosen by the command")
    return line


def shown(value: object) -> str:
    """A value of a model's settings as the form writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(str(one) for one in value)
    return str(value)


def narrow(choice: QComboBox) -> QComboBox:
    """A choice that does not make its dock as wide as its longest entry."""
    choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    choice.setMinimumContentsLength(6)
    return choice


def _value(field: Field) -> str | bool:
    if isinstance(field, QCheckBox):
        return field.isChecked()
    if isinstance(field, QComboBox):
        return str(field.currentData() or "")
    return str(field.text())


def _tip(knob: Knob) -> str:
    """Rich text, which Qt breaks into lines."""
    text = knob.help.replace("&", "&amp;").replace("<", "&lt;")
    return f"<qt>{text}<br><code>{knob.option}</code></qt>"
