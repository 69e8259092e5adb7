"Texts and vectors to what is nearest, with a proof"
from quarantion import _room

__all__ = _room(__name__, codes='unit_rows new_axes best_code encode_rows', index='Index load_index',
                corpus='Corpus read_corpus', words='words_of Words fit_words', embed='LSA fit_lsa fuse',
                minilm='MiniLM', library='open_library', blocks='open_store', loop='Loop Gate fit_gate judge_bar')
