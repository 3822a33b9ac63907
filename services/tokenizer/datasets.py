"""The datasets on the volume: `datasets/<id>/`, written by this service alone."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from services.common.errors import Corrupt, NotFound
from services.common.files import check_name, read_json, remove_folder, remove_partials
from services.tokens.dataset import MANIFEST_FILE, Dataset

log = logging.getLogger(__name__)


class Datasets:
    """Finds and deletes datasets, and makes room for new ones."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "datasets"
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_partials(self.folder)

    def manifest(self, dataset_id: str) -> dict[str, Any] | None:
        """A dataset's manifest, or None if there is no such dataset; Corrupt if it cannot be read."""
        check_name(dataset_id, field="dataset", kind="dataset")
        path = self.folder / dataset_id / MANIFEST_FILE
        if not path.is_file():
            return None
        manifest = read_json(path)
        if not isinstance(manifest, dict) or manifest.get("kind") != "dataset":
            raise Corrupt(f"{path} does not describe a dataset; delete it", metadata={"file": str(path)})
        return manifest

    def manifests(self) -> list[dict[str, Any]]:
        """The manifests of all datasets; one that cannot be read is left out and logged."""
        found: list[dict[str, Any]] = []
        for path in sorted(self.folder.glob(f"*/{MANIFEST_FILE}")):
            if path.parent.name.startswith("."):
                continue
            try:
                manifest = self.manifest(path.parent.name)
            except Corrupt as error:
                log.warning("dataset %s is left out of the list: %s", path.parent.name, error)
                continue
            if manifest is not None:
                found.append(manifest)
        return found

    def open(self, dataset_id: str) -> Dataset:
        """A dataset, its files mapped; NotFound if there is none, Corrupt if it is damaged."""
        if self.manifest(dataset_id) is None:
            raise no_dataset(dataset_id)
        return Dataset.open(self.folder / dataset_id)

    def find_whole(self, dataset_id: str) -> Dataset | None:
        """A dataset whose every byte is as it was written, or None: then it must be built (again)."""
        if not (self.folder / dataset_id).exists():
            return None
        try:
            dataset = Dataset.open(self.folder / dataset_id)
            dataset.verify()
        except Corrupt as error:
            log.warning("dataset %s must be built again: %s", dataset_id, error)
            return None
        return dataset

    def clear(self, dataset_id: str) -> Path:
        """Remove what is left of a damaged dataset and return the path for a new one."""
        if (self.folder / dataset_id).exists():
            remove_folder(self.folder / dataset_id)
        return self.folder / dataset_id

    def delete(self, dataset_id: str) -> None:
        """Delete a dataset; NotFound if there is none."""
        check_name(dataset_id, field="dataset", kind="dataset")
        if not (self.folder / dataset_id).is_dir():
            raise no_dataset(dataset_id)
        remove_folder(self.folder / dataset_id)


def no_dataset(dataset_id: str) -> NotFound:
    """The error for a dataset that does not exist."""
    return NotFound(f"no dataset {dataset_id!r}; list them, or build it", metadata={"dataset": dataset_id})
