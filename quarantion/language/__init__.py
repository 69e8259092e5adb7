"Texts to tokens, and to what comes next, in few bits"
from quarantion import _room

__all__ = _room(__name__, pieces='cut_text count_pieces', texts='read_texts held_out',
                tokenizer='Tokenizer load_tokenizer save_tokenizer in_tokenizers', merge='train_tokenizer')
