"""Stage `tokenizer`: a tokenizer.json that is trained, taken from the hub, or uploaded.

tokenizer_config.json is written afresh, with the generic class and the names of the special tokens:
transformers then loads exactly the tokenizer.json that tokenised the corpora, and nothing in a
repository can make it import code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from shared.data.inspect import is_tokenizer
from shared.stages.stage import Leave, Stage, StageError
from shared.stages.trainer import (
    PretrainedTokenizer,
    TokenizerParameters,
    TrainedTokenizer,
    UploadedTokenizer,
)

END_OF_TEXT = "<|endoftext|>"
BYTES = 256  # entries that every byte-level vocabulary starts with
KNOWN_ENDS = (END_OF_TEXT, "</s>", "<|end_of_text|>", "<eos>", "<|im_end|>", "[EOS]")
SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token")
BATCH = 256  # rows of Parquet decoded at a time


def run(stage: Stage) -> None:
    """Write tokenizer.json and tokenizer_config.json; StageError for an unusable tokenizer."""
    wanted = TokenizerParameters.model_validate(stage.parameters).tokenizer
    if isinstance(wanted, TrainedTokenizer):
        tokenizer, special = _trained(stage, wanted), {"eos_token": END_OF_TEXT}
    elif isinstance(wanted, PretrainedTokenizer):
        tokenizer, special = _pretrained(wanted)
    else:
        tokenizer, special = _uploaded(wanted, stage.uploads[wanted.digest])
    end = tokenizer.token_to_id(special["eos_token"])
    if end is None:
        raise StageError(
            f"{_name(wanted)}: its end-of-text token {special['eos_token']!r} is not in its "
            "vocabulary"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(stage.output / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        **special,
    }
    (stage.output / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    stage.results.update(vocab_size=_vocab_size(tokenizer), end_of_text=end)


def _name(wanted: TrainedTokenizer | PretrainedTokenizer | UploadedTokenizer) -> str:
    if isinstance(wanted, PretrainedTokenizer):
        return f"tokenizer {wanted.name}"
    return f"upload {wanted.digest[:12]}" if isinstance(wanted, UploadedTokenizer) else "tokenizer"


def _vocab_size(tokenizer: Tokenizer) -> int:
    """Rows that an embedding needs: one more than the highest id, since ids may have gaps."""
    return int(max(tokenizer.get_vocab(with_added_tokens=True).values())) + 1


# -------------------------------------------------------------------------------- trained


def _trained(stage: Stage, wanted: TrainedTokenizer) -> Tokenizer:
    """A byte-level BPE (as GPT-2's: the same split into words, end-of-text as token 0)."""
    smallest = BYTES + 1
    if wanted.vocab_size < smallest:
        raise StageError(
            f"tokenizer: vocab_size={wanted.vocab_size} is too small; a byte-level vocabulary has "
            f"at least {smallest} entries (256 bytes and end-of-text)"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=wanted.vocab_size,
        min_frequency=2,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(stage, wanted.max_bytes), trainer)
    size = tokenizer.get_vocab_size()
    if size < wanted.vocab_size:
        raise StageError(
            f"tokenizer: the text of its corpora gives only {size} entries, not "
            f"vocab_size={wanted.vocab_size}; ask for fewer or train on more text"
        )
    return tokenizer


def _texts(path: Path) -> Iterator[str]:
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(BATCH, columns=["text"], use_threads=False):
            yield from batch.column(0).to_pylist()


def _sample(stage: Stage, max_bytes: int) -> Iterator[str]:
    """Training documents up to max_bytes; the corpus with the least text so far gives the next."""
    corpora = [_texts(corpus.path / "train.parquet") for corpus in stage.group("corpus")]
    taken = dict.fromkeys(range(len(corpora)), 0)
    total = 0
    while taken:
        if stage.stopping:
            raise Leave
        number = min(taken, key=lambda corpus: (taken[corpus], corpus))
        text = next(corpora[number], None)
        if text is None:
            del taken[number]
            continue
        size = len(text.encode())
        taken[number] += size
        total += size
        if total > max_bytes:
            return
        stage.progress(total, max_bytes, "bytes")
        yield text


# ----------------------------------------------------------------------- hub and uploads


def _pretrained(wanted: PretrainedTokenizer) -> tuple[Tokenizer, dict[str, str]]:
    path = _download(wanted, "tokenizer.json")
    if path is None:
        raise StageError(
            f"tokenizer {wanted.name} at {wanted.revision} has no tokenizer.json; tokenizers in "
            "other formats are not read"
        )
    tokenizer = _from_file(path, _name(wanted))
    special: dict[str, str] = {}
    for file in ("special_tokens_map.json", "tokenizer_config.json"):
        config = _download(wanted, file)
        if config is not None:
            special |= _special(json.loads(config.read_bytes()))
    if "eos_token" not in special:
        special["eos_token"] = _guessed_end(tokenizer, _name(wanted))
    return tokenizer, special


def _download(wanted: PretrainedTokenizer, file: str) -> Path | None:
    """A file of the repository, or None if there is no such file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(hf_hub_download(wanted.name, file, revision=wanted.revision))
    except LocalEntryNotFoundError:
        raise  # no connection: another attempt may succeed
    except EntryNotFoundError:
        return None
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError) as error:
        raise StageError(
            f"tokenizer {wanted.name} at {wanted.revision}: the hub has no such repository or "
            "revision, or does not show it without a token"
        ) from error


def _special(config: Mapping[str, Any]) -> dict[str, str]:
    """Names of the special tokens in a tokenizer_config.json or special_tokens_map.json."""
    names: dict[str, str] = {}
    for name in SPECIAL:
        token = config.get(name)
        if isinstance(token, dict):
            token = token.get("content")
        if isinstance(token, str):
            names[name] = token
    return names


def _uploaded(wanted: UploadedTokenizer, path: Path) -> tuple[Tokenizer, dict[str, str]]:
    if not is_tokenizer(path):
        raise StageError(f"{_name(wanted)} is not a tokenizer.json of Hugging Face tokenizers")
    tokenizer = _from_file(path, _name(wanted))
    return tokenizer, {"eos_token": _guessed_end(tokenizer, _name(wanted))}


def _from_file(path: Path, name: str) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise StageError(f"{name}: its tokenizer.json cannot be read: {error}") from error


def _guessed_end(tokenizer: Tokenizer, name: str) -> str:
    """The end-of-text token where no file names it: a usual name, or the only special token."""
    special = sorted(
        token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special
    )
    for token in KNOWN_ENDS:
        if token in special:
            return token
    if len(special) == 1:
        return str(special[0])
    raise StageError(
        f"{name} has no end-of-text token that can be recognised; its special tokens are "
        f"{', '.join(special) or 'none'}, recognised are {', '.join(KNOWN_ENDS)}"
    )
